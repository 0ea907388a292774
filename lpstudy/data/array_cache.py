"""The cache of decoded images: arrays on disk that all processes of a machine map into memory.

An entry of the cache is a folder named by the hash of its content, so that damage is detected and the data
are decoded again. A small pointer file says which entry the data's files gave when they were decoded:
finding an entry reads the files' sizes and times, not their content.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from lpstudy.cache import cache_folder
from lpstudy.data.arrays import Arrays, pixel_sums
from lpstudy.disk import StorageError, is_storage_error, sync, write_atomically

FORMAT = 2
"""Version of the decoding; an increase makes all earlier entries unused."""
FILES = ("train_images", "train_labels", "test_images", "test_labels", "moments")
NAMES = "class_names.json"


class Pointer(BaseModel):
    """The entry that a source gave when it was decoded, and what the entry does not store."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    content: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    transparent: Annotated[int, Field(ge=0)] = 0
    validation: Annotated[int, Field(ge=0)] = 0
    remarks: list[str] = []


@dataclass(frozen=True, eq=False, slots=True)
class Entry:
    """A decoded data set in the cache; its images are mapped into memory."""

    arrays: Arrays
    moments: npt.NDArray[np.int64]
    """Sums of the pixels and of their squares of every training image, shape (n, channels, 2)."""
    content: str
    """SHA-256 of all of it, in hexadecimal."""


def load_or_decode(source: object, read: Callable[[], Arrays]) -> Entry:
    """The cache's entry for a data set; where there is none or it is damaged, decode the data set first.

    Args:
        source: What the images are decoded from and how, as JSON; when it changes, the data are read again.
        read: Reads and decodes the data set.

    Raises:
        ValueError, StorageError: The cache cannot be read or written.
    """
    signature = hashlib.sha256(json.dumps([FORMAT, source]).encode()).hexdigest()
    folder = cache_folder()
    pointer = folder / "sources" / signature
    with _errors_name_cache(folder):
        entry = _open_entry(folder, pointer)
    if entry is not None:
        return entry
    with cache_lock("arrays.lock"):
        with _errors_name_cache(folder):
            entry = _open_entry(folder, pointer)
        if entry is None:
            arrays = read()
            with _errors_name_cache(folder):
                new_pointer = Pointer(
                    content=_write_entry(folder, arrays),
                    transparent=arrays.transparent,
                    validation=arrays.validation,
                    remarks=[*arrays.remarks],
                )
                write_atomically(pointer, new_pointer.model_dump_json().encode())
            entry = _open_entry(folder, pointer)
    if entry is None:
        raise ValueError(f"the cache {str(folder)!r} loses what is written to it")
    return entry


def scratch_array(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """An array of bytes in a nameless file of the cache: images that fill the memory go to the disk.

    Raises:
        ValueError, StorageError: The cache cannot be written, or has no room.
    """
    folder = cache_folder()
    with _errors_name_cache(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, max(1, math.prod(shape)))
            except OverflowError:
                raise ValueError(f"images of shape {shape} are too many") from None
            return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)


@contextlib.contextmanager
def cache_lock(name: str) -> Iterator[None]:
    """Hold a lock of the cache; other processes that request it wait.

    Raises:
        ValueError, StorageError: The cache cannot be read or written.
    """
    from filelock import FileLock

    folder = cache_folder()
    with _errors_name_cache(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _errors_name_cache(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = (
            f"cannot use the cache {str(folder)!r} ({error.strerror}):"
            " set LPSTUDY_CACHE to a writable folder with room"
        )
        if is_storage_error(error):
            raise StorageError(error.errno, message) from error
        raise ValueError(message) from error


def _open_entry(folder: Path, pointer: Path) -> Entry | None:
    """The entry that the pointer names; None where a file is missing or the hash differs."""
    try:
        target = Pointer.model_validate_json(pointer.read_bytes())
        entry = folder / "arrays" / target.content
        return _map_entry(entry, target) if _content_hash(entry) == target.content else None
    except (FileNotFoundError, NotADirectoryError, EOFError, ValueError, RecursionError):
        return None


def _map_entry(entry: Path, pointer: Pointer) -> Entry:
    """The arrays of an entry whose hash is right; another program may have written it.

    Raises:
        EOFError: A file is empty.
        ValueError: A file has another format: pickled objects, or another shape.
        RecursionError: The names are nested without end.
    """
    names = json.loads((entry / NAMES).read_text("utf-8"))
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"{NAMES} holds no list of names")
    # Mapped copy-on-write: torch wants writable memory, and nothing written there would reach the disk.
    train_images, train_labels, test_images, test_labels, moments = (
        np.lib.format.open_memmap(entry / f"{name}.npy", mode="c") for name in FILES
    )
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ValueError(f"images of {images.dtype}, shape {images.shape}")
        if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise ValueError(f"labels of {labels.dtype}, shape {labels.shape}")
    if moments.dtype != np.int64 or moments.shape != (*train_images.shape[:2], 2):
        raise ValueError(f"sums of {moments.dtype}, shape {moments.shape}")
    if pointer.validation >= len(train_labels):
        raise ValueError(f"{pointer.validation} validation images of {len(train_labels)}")
    arrays = Arrays(
        *(train_images, train_labels, test_images, test_labels, tuple(names)),
        transparent=pointer.transparent,
        validation=pointer.validation,
        remarks=tuple(pointer.remarks),
    )
    return Entry(arrays, moments, pointer.content)


def _content_hash(entry: Path) -> str:
    """The hash of an entry's files: 0.1 s for CIFAR-10 with a processor's SHA instructions."""
    content = hashlib.sha256()
    for name in (NAMES, *(f"{name}.npy" for name in FILES)):
        with (entry / name).open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
    return content.hexdigest()


def _write_entry(folder: Path, arrays: Arrays) -> str:
    """Write an entry under a temporary name, then rename it to its content."""
    (folder / "arrays").mkdir(exist_ok=True)
    for leftover in (folder / "arrays").glob(".writing-*"):  # of a killed process: this one holds the lock
        shutil.rmtree(leftover)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder / "arrays"))
    try:
        values: tuple[npt.NDArray[np.uint8] | npt.NDArray[np.int64], ...] = (
            arrays.train_images,
            arrays.train_labels,
            arrays.test_images,
            arrays.test_labels,
            pixel_sums(arrays.train_images),
        )
        (temporary / NAMES).write_text(json.dumps(arrays.class_names), "utf-8")
        for name, value in zip(FILES, values, strict=True):
            np.save(temporary / f"{name}.npy", value, allow_pickle=False)
        for path in (*temporary.iterdir(), temporary):
            sync(path)
        content = _content_hash(temporary)
        target = folder / "arrays" / content
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
        sync(target.parent)
        return content
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
