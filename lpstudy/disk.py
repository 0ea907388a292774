"""Files written whole or not at all; storage that fails is named, apart from all other faults."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a full disk, a quota and a limit of a file's size answer."""
DENIED_ERRNOS = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What a file system that was mounted to be read, and a folder of another user, answer."""
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
"""What a disk that fails, and a network file system or its server that has gone, answer."""
STORAGE_ERRNOS = (*FULL_ERRNOS, *DENIED_ERRNOS, *UNREACHABLE_ERRNOS)
"""Errors that are the storage's, and no fault of what uses it: someone mends them, then all goes on."""


class StorageError(OSError):
    """Files cannot be written or read now, for no fault of who wants to; `strerror` names them."""

    def __str__(self) -> str:
        return str(self.strerror)


class DiskFullError(StorageError):
    """There is no room for what was to be written; `strerror` says where and how much."""


class UnreachableError(StorageError):
    """A store, or a disk, does not take or give a file; `errno` is one of STORAGE."""


def is_storage_error(error: BaseException) -> bool:
    """Whether an error is the storage's, whoever has raised it."""
    return isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno in STORAGE_ERRNOS)


def storage_error(error: OSError, path: Path | str = "") -> StorageError:
    """The same error with the path of what it met in its message.

    Args:
        error: One of which `is_storage_error` is true.
        path: Named; where it is empty, the file that the error names.
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
    """Within it a storage's error at `path` is a StorageError that names it, and `size` where it is full."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError) or error.errno not in STORAGE_ERRNOS:
            raise
        if error.errno not in FULL_ERRNOS or size is None:
            raise storage_error(error, path) from error
        free = "?"
        with suppress(OSError):
            free = f"{shutil.disk_usage(path.parent).free:,}"
        raise DiskFullError(
            error.errno,
            f"{path}: no room for {size:,} bytes, {free} are free on the disk ({os.strerror(error.errno)})",
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Temporary file, fsync, rename: a reader sees the old file or the whole new one.

    Raises:
        StorageError: The disk is full, or cannot be written; the old file is as it was.
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
    """Whether files can be made in a folder, which may be made for that."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{uuid.uuid4().hex[:8]}"
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def sync(path: Path) -> None:
    """Bring a file, or a folder's list of names, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
