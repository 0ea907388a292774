"""Files written whole or not at all; a full disk is named with its path and bytes."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a full disk, a quota and a limit of a file's size answer."""


class DiskFullError(OSError):
    """There is no room for what was to be written; `strerror` says where and how much."""

    def __str__(self) -> str:
        return str(self.strerror)


class UnreachableError(DiskFullError):
    """A store that is reached by a URL does not take or give a file; `errno` is EIO."""


@contextmanager
def naming(path: Path, size: int) -> Iterator[None]:
    """Within it, to run out of room for `size` bytes at `path` is a DiskFullError that says so."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL or isinstance(error, DiskFullError):
            raise
        free = shutil.disk_usage(path.parent).free
        raise DiskFullError(
            error.errno,
            f"{path}: no room for {size:,} bytes, {free:,} are free on the disk ({os.strerror(error.errno)})",
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Temporary file, fsync, rename: a reader sees the old file or the whole new one.

    Raises:
        DiskFullError: There is no room; the old file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with naming(path, len(content)):
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Bring a file, or a folder's list of names, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
