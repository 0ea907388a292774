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

from lpstudy.data.arrays import cache_lock

Opened = TypeVar("Opened")

SECONDS = 30.0
"""How long a download may stand still; torchvision sets no limit."""


def open_dataset(
    kind: str, root: Path, files: tuple[str, ...], open_: Callable[[], Opened], progress: bool
) -> Opened:
    """What `open_` gives; a failure becomes one line that names the folder and the files expected there.

    Args:
        kind: The data set's name.
        root: Where it is looked for.
        files: The files that it consists of, relative to root.
        open_: Opens it through torchvision with download=True.
        progress: Let torchvision show its progress line.

    Raises:
        FileNotFoundError: Files are missing and could not be downloaded.
        ValueError: The files are there but damaged, and could not be downloaded again; or the cache, where
            the lock lies, cannot be written.
    """
    with cache_lock("download.lock"):
        return _opened(kind, root, files, open_, progress)


def _opened(
    kind: str, root: Path, files: tuple[str, ...], open_: Callable[[], Opened], progress: bool
) -> Opened:
    try:
        with _quiet(progress), _patient_for(SECONDS):
            return open_()
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        missing = [name for name in files if not (root / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{kind} is not in {str(root)!r} and could not be downloaded ({reason}):"
                f" expected there {', '.join(missing)}"
            ) from error
        raise ValueError(
            f"the files of {kind} in {str(root)!r} are damaged ({reason}): {', '.join(files)}"
        ) from error
    except (EOFError, tarfile.TarError, zlib.error) as error:  # an archive cut off, or that leads elsewhere
        reason = " ".join(str(error).split())
        raise ValueError(f"the archive of {kind} in {str(root)!r} cannot be unpacked: {reason}") from error
    except (AssertionError, IndexError, TypeError, ValueError) as error:  # torchvision on a malformed file
        raise ValueError(f"the files of {kind} in {str(root)!r} are damaged: {', '.join(files)}") from error


def source_of(root: Path, files: tuple[str, ...]) -> list[list[str | int]]:
    """What tells whether the files are still the same, without reading them."""
    status = [(name, (root / name).stat()) for name in files]
    return [[name, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns] for name, seen in status]


@contextlib.contextmanager
def _patient_for(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _quiet(progress: bool) -> Iterator[None]:
    """Keep torchvision's prints off standard output, and its progress line off standard error."""
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink):
        if progress:
            yield
        else:
            with contextlib.redirect_stderr(sink):
                yield
