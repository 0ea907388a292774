"""Files with many images each: below a folder, by a pattern, or at an fsspec URL."""

import contextlib
import errno
import glob
import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpstudy.data.folder_walk import printable_name
from lpstudy.disk import StorageError, UnreachableError, storage_errors_at
from lpstudy.folder import URL, RemoteFolder, folder_at
from lpstudy.one_line import one_line
from lpstudy.redaction import without_credentials
from lpstudy.terminal import for_stream

PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
"""The parts of a data set, and the words in the names of files and folders that say so."""
SUBFOLDERS = ("data", *(word for words in PARTS.values() for word in words))
"""Folders right below the root that are looked into."""
VERSION_KEYS = ("ETag", "etag", "md5Hash", "mtime", "Last-Modified", "LastModified", "created")
"""What stores say of a file that changes when it does."""
PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file with many images."""

    name: str
    """Below the root, for messages and for the part that it belongs to."""
    place: str
    """Its path or URL."""
    size: int
    version: str
    """Changes when the file does."""

    @property
    def is_local(self) -> bool:
        """Whether it is on a disk of this machine."""
        return not URL.match(self.place)

    def copy_to(self, path: Path, *, progress: bool) -> None:
        """Copy a file at a URL to a disk.

        Raises:
            OSError: It cannot be read, or the disk cannot be written.
        """
        from fsspec.callbacks import NoOpCallback, TqdmCallback

        system, source = RemoteFolder(self.place).file_system()
        line = {"desc": f"copying {for_stream(self.name, sys.stderr)}", "unit": "B", "unit_scale": True}
        callback = TqdmCallback(tqdm_kwargs=line) if progress else NoOpCallback()
        with _errors_name(self.place), storage_errors_at(path), callback:
            system.get_file(source, str(path), callback=callback)


def find_files(places: Sequence[Path | str], suffix: str) -> list[DataFile]:
    """The files at some places, sorted by name.

    Args:
        places: Files, folders, patterns with `*`; paths, or URLs as text. In a folder its files count, and
            those in its subfolders `data`, `train`, `test` and the like.
        suffix: The end of the names of files in folders and patterns, with its dot.

    Raises:
        FileNotFoundError: A place does not exist, or is a folder or a pattern without such files.
        ValueError: A URL cannot be used, or what is there is no file.
        UnreachableError: A store cannot be reached.
    """
    files: list[DataFile] = []
    for place in places:
        is_url = isinstance(place, str) and URL.match(place)
        found = _remote_files(str(place), suffix) if is_url else _local_files(Path(place), suffix)
        if not found:
            raise FileNotFoundError(f"no file *{suffix} is at {without_credentials(str(place))!r}")
        files += found
    return sorted(files, key=lambda file: file.name)


def parts_of(files: Sequence[DataFile]) -> dict[str, list[DataFile]]:
    """The files of each part, by the words in their names; all are of the training set where none has one.

    Raises:
        ValueError: Some names say the part and others do not, or no file is of the training set.
    """
    parts: dict[str, list[DataFile]] = {}
    unnamed: list[str] = []
    for file in files:
        part = part_of(file.name)
        if part is None:
            unnamed.append(file.name)
        else:
            parts.setdefault(part, []).append(file)
    if not parts:
        return {"train": [*files]}
    if unnamed:
        raise ValueError(f"{unnamed[0]!r} says no part: others are named train-*, validation-* or test-*")
    if "train" not in parts:
        raise ValueError(f"no file is named train-*: {', '.join(repr(file.name) for file in files[:3])}")
    return {part: parts[part] for part in PARTS if part in parts}


def part_of(name: str) -> str | None:
    """The part that a file's name says, or else that of its folder; None where neither does."""
    for component in reversed(name.lower().split("/")):
        for word in re.split(r"[-_. ]+", component):
            for part, words in PARTS.items():
                if word in words:
                    return part
    return None


def _local_files(path: Path, suffix: str) -> list[DataFile]:
    """The files at a path of this machine."""
    if path.is_dir():
        folders = [path, *(path / name for name in SUBFOLDERS if (path / name).is_dir())]
        paths = [inner for folder in folders for inner in folder.iterdir() if _is_one(inner.name, suffix)]
        return [_local_file(inner, inner.relative_to(path).as_posix()) for inner in paths]
    if not path.exists() and PATTERN.search(str(path)):
        base = Path(PATTERN.split(str(path), maxsplit=1)[0] + "x").parent
        matches = [Path(match) for match in glob.glob(str(path), recursive=True)]
        return [
            _local_file(match, match.relative_to(base).as_posix())
            for match in matches
            if _is_one(match.name, suffix)
        ]
    return [_local_file(path, path.name)]


def _local_file(path: Path, name: str) -> DataFile:
    try:
        info = path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {str(path)!r}") from None
    if not stat.S_ISREG(info.st_mode):
        raise ValueError(f"{str(path)!r} is no file")
    return DataFile(name, str(path), info.st_size, f"{info.st_mtime_ns} {info.st_ctime_ns}")


def _is_one(name: str, suffix: str) -> bool:
    return name.lower().endswith(suffix) and not name.startswith((".", "_"))


def _remote_files(url: str, suffix: str) -> list[DataFile]:
    """The files at a URL."""
    if without_credentials(url) != url:
        raise ValueError(f"{without_credentials(url)}: a URL in a study file must have no credentials")
    match = PATTERN.search(url)
    base = url.rstrip("/") if match is None else url[: match.start()].rpartition("/")[0]
    folder = folder_at(base)
    assert isinstance(folder, RemoteFolder)
    system, root = folder.file_system()
    with _errors_name(url):
        if match is not None:
            entries = system.glob(f"{root}{url[len(base) :]}", detail=True).values()
        elif base.lower().endswith(suffix):
            entries = [system.info(root)]
            root, base = root.rpartition("/")[0], base.rpartition("/")[0]
        else:
            entries = [*_folder_entries(system, root)]
        return [
            _remote_file(system, entry, base, root)
            for entry in entries
            if entry["type"] == "file" and _is_one(entry["name"].rpartition("/")[2], suffix)
        ]


def _folder_entries(system: Any, root: str) -> Iterator[dict[str, Any]]:
    """The files of a folder of a store and of the subfolders that are looked into."""
    for entry in system.ls(root, detail=True):
        if entry["type"] == "directory" and entry["name"].rstrip("/").rpartition("/")[2] in SUBFOLDERS:
            yield from system.ls(entry["name"], detail=True)
        else:
            yield entry


def _remote_file(system: Any, entry: dict[str, Any], base: str, root: str) -> DataFile:
    path = str(entry["name"])
    name = path.removeprefix(root).lstrip("/")
    version = json.dumps([entry.get(key) for key in VERSION_KEYS], default=str)
    return DataFile(name, f"{base}/{name}", int(entry["size"] or 0), f"{system.ukey(path)} {version}")


@contextlib.contextmanager
def _errors_name(url: str) -> Iterator[None]:
    """Errors of a store's client, which has ones of its own, as one line that names the URL."""
    where = without_credentials(url)
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no {where}") from error
    except StorageError:
        raise
    except Exception as error:  # each store's client has errors of its own
        message = without_credentials(one_line(error, 300))
        code = errno.EACCES if isinstance(error, PermissionError) else errno.EIO
        raise UnreachableError(code, f"{where}: {message}") from error


def place_of(root: Path | str) -> str:
    """A root for messages: quoted, without credentials."""
    return repr(without_credentials(os.fspath(root)))


def place_name(root: Path | str) -> str:
    """The name of a data set: that of its folder or file, in text for any file or server."""
    names = [name for name in without_credentials(os.fspath(root)).split("/") if name.strip(".")]
    plain = [name for name in names if not {*name} & {*"*?[]{}"}]
    return printable_name(os.fsencode((plain or names or [""])[-1]))


def folder_of(root: Path | str, suffix: str) -> Path | str:
    """The folder of a root that is a file, a folder, or a pattern with `*` or braces."""
    text = os.fspath(root)
    if not os.path.exists(text) and (match := re.search(r"[*?\[{]", text)):
        text = text[: match.start()].rpartition("/")[0] or "."
    elif text.lower().endswith(suffix):
        text = text.rpartition("/")[0] or "."
    return text if isinstance(root, str) else Path(text)
