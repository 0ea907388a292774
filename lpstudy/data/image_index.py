"""Where the images of parquet files and shards are: an index that is made once and lies in the cache."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from lpstudy.cache import cache_folder
from lpstudy.data.array_cache import cache_lock
from lpstudy.data.class_labels import Label, classes_of
from lpstudy.data.data_files import DataFile
from lpstudy.data.files import Files, Listing
from lpstudy.data.test_part import CUT_REMARK, VALIDATION_REMARK, cut_test_files
from lpstudy.disk import write_atomically
from lpstudy.outputs import NO_LABEL

FORMAT = 1
"""Version of the index; an increase makes all earlier ones unused."""
LONGEST_NAME = 200
"""Most bytes of an image's name in messages; longer ones are cut."""
ARRAYS = ("file", "labels", "status", "offsets", "names")


class IndexInfo(BaseModel):
    """What an index stores beside its arrays."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    parts: list[str]
    containers: dict[str, int]
    """The files with the images, below the root, and the bytes that they must have."""
    class_names: list[str]
    remarks: list[str]


@dataclass(frozen=True, eq=False, slots=True)
class ImageIndex:
    """The images of a data set's parts, in files below one root."""

    parts: Mapping[str, Files]
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def listing(self, name: str) -> Listing:
        """The data set. Without a test part the validation part is it; without both, it is cut.

        Raises:
            ValueError: A class has one image, so that no test part can be cut.
        """
        train, remarks = self.parts["train"], self.remarks
        validation, test = self.parts.get("validation"), self.parts.get("test")
        if test is None and validation is not None:
            remarks = (*remarks, VALIDATION_REMARK)
            test, validation = validation, None
        if test is None:
            remarks = (*remarks, CUT_REMARK)
            train, test = cut_test_files(train, self.class_names)
        return Listing(name, self.class_names, train, test, remarks, validation)


@dataclass(slots=True)
class Rows:
    """The images of a part while an index is made."""

    containers: list[str] = field(default_factory=list)
    """The file of each image, below the root."""
    labels: list[Label] = field(default_factory=list)
    status: list[tuple[int, int, int]] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)

    def add(self, container: str, region: tuple[int, int], times: tuple[int, int], name: str) -> None:
        """Add an image without its label: offset and size, the file's times and the name in messages."""
        self.containers.append(container)
        self.offsets.append(region[0])
        self.status.append((region[1], *times))
        self.names.append(name.encode("utf-8", "backslashreplace").replace(b"\0", b"?")[:LONGEST_NAME])


def index_of(root: bytes, parts: Mapping[str, Rows], declared: list[str] | None) -> ImageIndex:
    """The index of labelled parts.

    Raises:
        ValueError: See `classes_of`; or the training set has no image.
    """
    if not parts["train"].labels:
        raise ValueError("the training set has no images")
    filled = {part: rows for part, rows in parts.items() if rows.labels}
    classes = classes_of({part: rows.labels for part, rows in filled.items()}, declared)
    files = {part: _files(root, filled[part], labels) for part, labels in classes.labels.items()}
    return ImageIndex(files, classes.names, classes.remarks)


def unlabelled_index(root: bytes, rows: Rows) -> ImageIndex:
    """The index of images without labels.

    Raises:
        ValueError: There are none.
    """
    if not rows.names:
        raise ValueError("there are no images")
    return ImageIndex({"train": _files(root, rows, np.full(len(rows.names), NO_LABEL, dtype=np.int64))})


def _files(root: bytes, rows: Rows, labels: npt.NDArray[np.int64]) -> Files:
    paths = np.array([os.fsencode(name) for name in rows.containers])
    offsets = np.array(rows.offsets, dtype=np.int64)
    return Files(root, paths, labels, np.array(rows.status, dtype=np.int64), offsets, np.array(rows.names))


def load_or_index(source: object, root: bytes, make: Callable[[], ImageIndex]) -> ImageIndex:
    """The cache's index; where there is none, or it does not fit the files below the root, make it first.

    Args:
        source: What the index is made from, as JSON; when it changes, it is made again.
        root: The folder of the files with the images.
        make: Makes the index.

    Raises:
        ValueError, StorageError: The cache cannot be written, or an error of `make`.
    """
    signature = hashlib.sha256(json.dumps([FORMAT, source]).encode()).hexdigest()
    path = cache_folder() / "indexes" / f"{signature}.npz"
    if (index := _load(path, root)) is not None:  # before the lock: the cache may be read-only
        return index
    with cache_lock("indexes.lock"):
        if (index := _load(path, root)) is None:
            index = make()
            write_atomically(path, _content(index))
    return index


def signature_of(files: list[DataFile]) -> list[list[str | int]]:
    """Names, sizes and versions of files: what changes when they do."""
    return [[file.name, file.size, file.version] for file in files]


def _content(index: ImageIndex) -> bytes:
    """The index as the bytes of an .npz file."""
    containers = np.unique(np.concatenate([files.paths for files in index.parts.values()]))
    lengths = np.zeros(len(containers), dtype=np.int64)
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for part, files in index.parts.items():
        assert files.offsets is not None
        assert files.names is not None
        rows = np.searchsorted(containers, files.paths)
        np.maximum.at(lengths, rows, files.offsets + files.sizes)
        values = (rows, files.labels, files.status, files.offsets, files.names)
        arrays |= {f"{part}.{name}": value for name, value in zip(ARRAYS, values, strict=True)}
    info = IndexInfo(
        parts=[*index.parts],
        containers=dict(zip((os.fsdecode(bytes(c)) for c in containers), lengths.tolist(), strict=True)),
        class_names=[*index.class_names],
        remarks=[*index.remarks],
    )
    arrays["info"] = np.frombuffer(info.model_dump_json().encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _load(path: Path, root: bytes) -> ImageIndex | None:
    """The index in the cache; None where it is missing, damaged, or a file with images is too short."""
    try:
        with np.load(path, allow_pickle=False) as file:
            info = IndexInfo.model_validate_json(file["info"].tobytes())
            for name, size in info.containers.items():
                if os.stat(os.path.join(root, os.fsencode(name))).st_size < size:
                    return None
            paths = np.array([os.fsencode(name) for name in info.containers])
            parts: dict[str, Files] = {}
            for part in info.parts:
                rows, labels, status, offsets, names = (file[f"{part}.{name}"] for name in ARRAYS)
                parts[part] = Files(root, paths[rows], labels, status, offsets, names)
    except (OSError, EOFError, KeyError, IndexError, ValueError, ValidationError, zipfile.BadZipFile):
        return None
    return ImageIndex(parts, tuple(info.class_names), tuple(info.remarks))


def renamed(index: ImageIndex, root: bytes, container: str) -> ImageIndex:
    """The same index with all images in one file."""
    parts = {
        part: replace(files, root=root, paths=np.full(len(files), os.fsencode(container)))
        for part, files in index.parts.items()
    }
    return replace(index, parts=parts)
