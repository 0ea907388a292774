"""Copies of files at URLs, in the cache: not every server reads at any position."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from lpstudy.cache import cache_folder
from lpstudy.data.array_cache import cache_lock
from lpstudy.data.data_files import DataFile
from lpstudy.disk import storage_errors_at

FOLDER = "downloads"


def local_copies(files: Sequence[DataFile], *, progress: bool) -> dict[str, Path]:
    """Where each file is on this machine, by its name; files at URLs are copied if they are not yet.

    Raises:
        OSError: A file cannot be read, or the cache cannot be written.
    """
    return {
        file.name: Path(file.place) if file.is_local else _copy(file, progress=progress) for file in files
    }


@contextlib.contextmanager
def open_file(file: DataFile, *, progress: bool) -> Iterator[BinaryIO]:
    """Open a file for reading at any position; of a file at a URL there is a copy meanwhile.

    Raises:
        OSError: It cannot be read, or the cache cannot be written.
    """
    path = local_copies([file], progress=progress)[file.name]
    try:
        with open(path, "rb") as opened:
            yield opened
    finally:
        if not file.is_local:
            path.unlink(missing_ok=True)


def _copy(file: DataFile, *, progress: bool) -> Path:
    """The copy of a file, in a folder named by its URL, size and version."""
    key = hashlib.sha256(f"{file.place} {file.size} {file.version}".encode()).hexdigest()[:32]
    path = cache_folder() / FOLDER / key / file.name.rpartition("/")[2]
    with cache_lock("downloads.lock"), storage_errors_at(path):
        if path.is_file() and file.size in (0, path.stat().st_size):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(".writing")
        file.copy_to(temporary, progress=progress)
        temporary.replace(path)
    return path
