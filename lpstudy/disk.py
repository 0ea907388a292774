"""Atomic writes, and errors that name the file or folder of a failing storage."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, an exceeded quota and a file size limit."""
DENIED_ERRNOS = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Error numbers of a read-only file system and of another user's folder."""
UNREACHABLE_ERRNOS = (
    errno.EIO,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ENODEV,
    errno.ENXIO,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EREMOTEIO,
    errno.ESHUTDOWN,
)
"""Error numbers of a failing disk and of an unreachable network file system."""
STORAGE_ERRNOS = (*FULL_ERRNOS, *DENIED_ERRNOS, *UNREACHABLE_ERRNOS)
"""Error numbers that are the storage's fault; once it is repaired, the study can resume."""


class StorageError(OSError):
    """Files cannot be written or read, by the storage's fault; `strerror` names them."""

    def __str__(self) -> str:
        return str(self.strerror)


class DiskFullError(StorageError):
    """The disk has no room for a write; `strerror` says where and how much."""


class UnreachableError(StorageError):
    """A store or disk cannot be reached; `errno` is one of STORAGE_ERRNOS."""


def is_storage_error(error: BaseException) -> bool:
    """Whether an error is the storage's fault."""
    return isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno in STORAGE_ERRNOS)


def storage_error(error: OSError, path: Path | str = "") -> StorageError:
    """The error as a StorageError with the path in its message.

    Args:
        error: An error for which `is_storage_error` is true.
        path: The path for the message; empty: the file that the error names.
    """
    if isinstance(error, StorageError):
        return error
    where = path or (error.filename if isinstance(error.filename, str) else "")
    kind = (
        UnreachableError
        if error.errno in UNREACHABLE_ERRNOS
        else DiskFullError
        if error.errno in FULL_ERRNOS
        else StorageError
    )
    cause = os.strerror(error.errno or errno.EIO)
    return kind(error.errno, f"{where}: {cause}" if str(where) else cause)


@contextmanager
def storage_errors_at(path: Path, size: int | None = None) -> Iterator[None]:
    """A context that turns the storage's errors into StorageErrors that name `path`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError) or error.errno not in STORAGE_ERRNOS:
            raise
        if error.errno not in FULL_ERRNOS or size is None:
            raise storage_error(error, path) from error
        free_bytes = "?"
        with suppress(OSError):
            free_bytes = f"{shutil.disk_usage(path.parent).free:,}"
        raise DiskFullError(
            error.errno,
            f"{path}: no room for {size:,} bytes, {free_bytes} are free on the disk"
            f" ({os.strerror(error.errno)})",
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file by temporary file, fsync and rename: a reader sees the old or the new content.

    Raises:
        StorageError: The disk is full or cannot be written; the old file is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with storage_errors_at(path, len(content)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def is_writable(folder: Path) -> bool:
    """Whether files can be created in a folder, which is created if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{uuid.uuid4().hex[:8]}"
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def sync(path: Path) -> None:
    """Flush a file, or a folder's directory entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
