"""Cache files that a process has mapped into memory, and a check that none was truncated."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from lpstudy.disk import UnreachableError

MAPS = Path("/proc/self/maps")


class MappedFiles:
    """The files of images and teacher outputs that this process reads through memory maps.

    A file that is truncated meanwhile would silently read as zeros up to the end of its last page.

    Args:
        folder: Mapped files below it are checked; on Linux only.
    """

    def __init__(self, folder: Path) -> None:
        folder = folder.resolve()
        lines = os.fsdecode(MAPS.read_bytes()).splitlines() if MAPS.exists() else []
        paths = {Path(line.split(maxsplit=5)[5]) for line in lines if line.count("/")}
        self._sizes = {
            path: path.stat().st_size for path in paths if path.is_relative_to(folder) and path.is_file()
        }

    def check(self) -> None:
        """Check that no file was truncated; a removed file remains readable.

        Raises:
            UnreachableError: Names the file.
        """
        for path, size in self._sizes.items():
            with suppress(FileNotFoundError):
                if path.stat().st_size < size:
                    raise UnreachableError(errno.EIO, f"{path}: was truncated while it was read")
