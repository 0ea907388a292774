"""Images in tar shards, as `webdataset` writes them: members of one key, such as 0017.jpg and 0017.cls.

The members are grouped by the rules of the library webdataset. Their names and contents may be hostile:
nothing is unpacked, links and devices are passed over, and nothing but images and labels is read.

Source: Aizman, Maltby and Breuel, "High performance I/O for large scale deep learning", 2019.
"""

import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lpstudy.data.class_labels import Label
from lpstudy.data.data_files import DataFile, find_files, folder_of, parts_of, place_name, place_of
from lpstudy.data.downloads import local_copies
from lpstudy.data.files import Files, Listing
from lpstudy.data.image_index import (
    ImageIndex,
    Rows,
    index_of,
    load_or_index,
    signature_of,
    unlabelled_index,
)
from lpstudy.data.images import SUFFIXES
from lpstudy.data.progress_line import with_progress
from lpstudy.folder import folder_at
from lpstudy.one_line import one_line

LONGEST_LABEL = 2**16
"""Most bytes of a member with a label."""
LARGEST_NAMES = 2**22
"""Most bytes of a file of class names."""
CLASS_FILES = ("classes.txt", "classnames.txt")
"""Files beside the shards with a class name in each line."""
MOST_SHARDS = 100_000
HEADER = 512
"""Bytes of a block of a tar file."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a shard."""

    offset: int
    size: int


def list_shards(root: Path | str, *, progress: bool) -> Listing:
    """The images of shards, which stay where they are; shards at a URL are first copied into the cache.

    Args:
        root: A shard, a folder, a pattern with `*` or `{000..146}`, or an fsspec URL.
        progress: Show a progress line.

    Raises:
        FileNotFoundError: There are no shards.
        ValueError: webdataset is not installed, a shard is damaged, a label is missing or no class.
    """
    files = _files(root)
    parts = parts_of(files)
    shards = _shards(files, progress)
    folder = _root_of(shards)
    names, version = _class_names(root)

    def read() -> ImageIndex:
        rows = {part: _rows(folder, [shards[one.name] for one in some], True) for part, some in parts.items()}
        return index_of(folder, rows, names)

    source = ["webdataset", signature_of(files), version, os.fsdecode(folder)]
    return load_or_index(source, folder, read).listing(place_name(root))


def list_unlabelled_shards(root: Path | str, *, progress: bool) -> Files:
    """The images of shards without their labels.

    Raises:
        FileNotFoundError, ValueError: See `list_shards`.
    """
    files = _files(root)
    shards = _shards(files, progress)
    folder = _root_of(shards)
    source = ["unlabelled webdataset", signature_of(files), os.fsdecode(folder)]
    index = load_or_index(
        source, folder, lambda: unlabelled_index(folder, _rows(folder, [*shards.values()], False))
    )
    return index.parts["train"]


@dataclass(frozen=True, slots=True)
class _Shard:
    """A shard on this machine."""

    name: str
    """Its name below the root."""
    path: Path
    progress: bool


def _files(root: Path | str) -> list[DataFile]:
    """The shards at a place."""
    places = _expanded(str(root))
    try:
        return find_files([place if isinstance(root, str) else Path(place) for place in places], ".tar")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"webdataset is not in {place_of(root)}: {error}; expected there train-*.tar and test-*.tar"
        ) from error


def _shards(files: list[DataFile], progress: bool) -> dict[str, _Shard]:
    """The shards by their names, copied to this machine where they are at a URL."""
    copies = local_copies(files, progress=progress)
    return {file.name: _Shard(file.name, copies[file.name].absolute(), progress) for file in files}


def _expanded(root: str) -> list[str]:
    """The places of a pattern with braces, by the library that webdataset uses."""
    _webdataset()
    if "{" not in root or os.path.exists(root):
        return [root]
    from braceexpand import braceexpand

    try:
        places = [*islice(braceexpand(root), MOST_SHARDS + 1)]
    except ValueError:
        raise ValueError(f"{place_of(root)} has a brace without its other one") from None
    if len(places) > MOST_SHARDS:
        raise ValueError(f"{place_of(root)} names more than {MOST_SHARDS:,} shards")
    return places


def _webdataset() -> Any:
    try:
        from webdataset import tariterators
    except ImportError:
        raise ValueError(
            "kind webdataset needs the package webdataset: pip install 'lpstudy[webdataset]'"
        ) from None
    return tariterators


def _root_of(shards: Mapping[str, _Shard]) -> bytes:
    """The folder that all shards are below."""
    return os.fsencode(os.path.commonpath([str(shard.path.parent) for shard in shards.values()]))


def _class_names(root: Path | str) -> tuple[list[str] | None, str]:
    """The class names beside the shards, and what changes with them."""
    folder = folder_at(folder_of(root, ".tar"))
    for name in CLASS_FILES:
        try:
            content = folder.read(name)
        except FileNotFoundError:
            continue
        if len(content) > LARGEST_NAMES:
            raise ValueError(f"{name!r} has more than {LARGEST_NAMES:,} bytes of class names")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError(f"{name!r} in {folder} is not UTF-8") from None
        return [line.strip() for line in text.splitlines() if line.strip()], text
    return None, ""


def _rows(folder: bytes, shards: Sequence[_Shard], labelled: bool) -> Rows:
    """The images of some shards, of which only the labels are read."""
    rows = Rows()
    for shard in shards:
        try:
            with tarfile.open(shard.path, "r:", errorlevel=2) as archive:
                _add_shard(rows, shard, archive, os.fsdecode(folder), labelled)
        except (tarfile.TarError, EOFError, OSError) as error:
            reason = one_line(error, 200)
            raise ValueError(f"{shard.name!r} is no tar file, or a damaged one: {reason}") from error
    return rows


def _add_shard(rows: Rows, shard: _Shard, archive: tarfile.TarFile, folder: str, labelled: bool) -> None:
    info = shard.path.stat()
    container = os.path.relpath(shard.path, folder)
    samples = _webdataset().group_by_keys(_members(archive, shard.name), handler=_refuse)
    for sample in with_progress(samples, f"reading {shard.name}", total=None, progress=shard.progress):
        key = f"{shard.name}/{sample['__key__']}"
        image = _image(sample, key)
        rows.add(container, (image.offset, image.size), (info.st_mtime_ns, info.st_ctime_ns), key)
        rows.labels.append(_label(archive, sample, key) if labelled else None)
    _check_end(archive, shard.name)


def _members(archive: tarfile.TarFile, name: str) -> Iterator[dict[str, Any]]:
    """The regular files of a shard, in the form that webdataset groups."""
    last = -1
    for info in archive:
        archive.members = []  # type: ignore[attr-defined]  # or it would keep all of them
        if info.offset <= last or info.size < 0:
            raise ValueError(
                f"{name!r} is damaged: {info.name[:100]!r} begins before the member that it follows"
            )
        last = info.offset
        base = info.name.rpartition("/")[2]
        if not info.isreg() or base.startswith("__"):
            continue
        if info.issparse():
            raise ValueError(f"{name!r}: {info.name[:100]!r} is sparse, and so may be a decompression bomb")
        yield {"fname": info.name, "data": Member(info.offset_data, info.size), "__url__": name}


def _refuse(error: Exception) -> bool:
    """Raise webdataset's error without what it adds: two members of one name."""
    raise ValueError(str(error.args[0])[:300]) from error


def _image(sample: Mapping[str, Any], key: str) -> Member:
    """The image of a sample.

    Raises:
        ValueError: It has none, or several.
    """
    images = [value for suffix, value in sample.items() if f".{suffix}" in SUFFIXES]
    if len(images) != 1:
        raise ValueError(
            f"{key[:200]!r} has {len(images)} images, a sample has one: {' '.join(SUFFIXES[:3])} ..."
        )
    image: Member = images[0]
    return image


def _label(archive: tarfile.TarFile, sample: Mapping[str, Any], key: str) -> Label:
    """The label in .cls, or in the key `label` of .json.

    Raises:
        ValueError: There is none.
    """
    if "cls" in sample:
        text = _read(archive, sample["cls"], f"{key}.cls").decode("utf-8", "replace").strip()
        return int(text) if text.removeprefix("-").isdecimal() and len(text) < 10 else text or None
    if "json" not in sample:
        raise ValueError(f"{key[:200]!r} has no label: neither .cls nor .json")
    try:
        label = json.loads(_read(archive, sample["json"], f"{key}.json"))["label"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{key[:200]!r}: its .json is no table with a key label") from None
    if isinstance(label, bool) or not isinstance(label, int | str):
        raise ValueError(f"{key[:200]!r}: label must be a whole number or a text but is {str(label)[:50]!r}")
    return label


def _read(archive: tarfile.TarFile, member: Member, name: str) -> bytes:
    """A small member."""
    if member.size > LONGEST_LABEL:
        raise ValueError(f"{name[:200]!r} has {member.size:,} bytes, more than {LONGEST_LABEL:,}")
    file: Any = archive.fileobj
    position = file.tell()
    file.seek(member.offset)
    content: bytes = file.read(member.size)
    file.seek(position)
    return content


def _check_end(archive: tarfile.TarFile, name: str) -> None:
    """Refuse a shard that ends in something else than zeros, at which tarfile stops without a word."""
    file: Any = archive.fileobj
    file.seek(archive.offset)
    if any(file.read(HEADER)):
        raise ValueError(f"{name!r} is damaged: what begins at byte {archive.offset:,} is no member")
