"""Opening a data set through torchvision, which downloads it if it is absent."""

import contextlib
import http.client
import io
import socket
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from lpstudy.data.array_cache import cache_lock
from lpstudy.one_line import one_line

Dataset = TypeVar("Dataset")

SECONDS = 30.0
"""Longest pause of a download; torchvision sets no limit."""


def open_dataset(
    kind: str, root: Path, files: tuple[str, ...], open_: Callable[[], Dataset], progress: bool
) -> Dataset:
    """Open a data set; a failure becomes one line that names the folder and the files expected there.

    Args:
        kind: The data set's name.
        root: The folder that is searched.
        files: The files of the data set, relative to root.
        open_: Opens the data set through torchvision with download=True.
        progress: Let torchvision show its progress line.

    Raises:
        FileNotFoundError: Files are missing and could not be downloaded.
        ValueError: The files exist but are damaged, and could not be downloaded again; or the cache, where
            the lock lies, cannot be written.
    """
    with cache_lock("download.lock"):
        return _open_or_explain(kind, root, files, open_, progress)


def _open_or_explain(
    kind: str, root: Path, files: tuple[str, ...], open_: Callable[[], Dataset], progress: bool
) -> Dataset:
    try:
        with _silenced(progress), _socket_timeout(SECONDS):
            return open_()
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        reason = one_line(error)
        missing = [name for name in files if not (root / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{kind} is not in {str(root)!r} and could not be downloaded ({reason}):"
                f" expected there {', '.join(missing)}"
            ) from error
        raise ValueError(
            f"the files of {kind} in {str(root)!r} are damaged ({reason}): {', '.join(files)}"
        ) from error
    except (
        EOFError,
        tarfile.TarError,
        zlib.error,
    ) as error:  # a truncated archive, or one with paths outside
        reason = one_line(error)
        raise ValueError(f"the archive of {kind} in {str(root)!r} cannot be unpacked: {reason}") from error
    except (AssertionError, IndexError, TypeError, ValueError) as error:  # torchvision on a malformed file
        raise ValueError(f"the files of {kind} in {str(root)!r} are damaged: {', '.join(files)}") from error


def source_of(root: Path, files: tuple[str, ...]) -> list[list[str | int]]:
    """Names, sizes and times of the files, which change when the files do."""
    status = [(name, (root / name).stat()) for name in files]
    return [[name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for name, stat in status]


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Limit how long a socket may wait."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


@contextlib.contextmanager
def _silenced(progress: bool) -> Iterator[None]:
    """Keep torchvision's prints off standard output, and its progress line off standard error."""
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink):
        if progress:
            yield
        else:
            with contextlib.redirect_stderr(sink):
                yield
