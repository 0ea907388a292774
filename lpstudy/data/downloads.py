"""Copies of files at URLs, in the cache: for what has to be read at any position again and again."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from lpstudy.cache import cache_folder
from lpstudy.data.array_cache import cache_lock
from lpstudy.data.data_files import DataFile
from lpstudy.data.progress_line import with_progress
from lpstudy.disk import storage_errors_at

FOLDER = "downloads"


def local_copies(files: Sequence[DataFile], *, progress: bool) -> dict[str, Path]:
    """Where each file is on this machine, by its name; files at URLs are copied if they are not yet.

    Raises:
        OSError: A file cannot be read, or the cache cannot be written.
    """
    copies: dict[str, Path] = {}
    for file in with_progress(
        files, "copying shards", total=len(files), progress=progress and _any_remote(files)
    ):
        copies[file.name] = Path(file.place) if file.is_local else _copy(file)
    return copies


def _any_remote(files: Sequence[DataFile]) -> bool:
    return not all(file.is_local for file in files)


def _copy(file: DataFile) -> Path:
    """The copy of a file, in a folder named by its URL, size and version."""
    key = hashlib.sha256(f"{file.place} {file.size} {file.version}".encode()).hexdigest()[:32]
    path = cache_folder() / FOLDER / key / file.name.rpartition("/")[2]
    if path.is_file() and (file.size in (0, path.stat().st_size)):
        return path
    with cache_lock("downloads.lock"), storage_errors_at(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(".writing")
        with file.open() as source, temporary.open("wb") as target:
            shutil.copyfileobj(source, target, 2**20)
        temporary.replace(path)
    return path
