"""Files of the cache that a process has mapped into memory, and whether they are as long as they were."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from lpstudy.disk import UnreachableError

MAPS = Path("/proc/self/maps")


class Mapped:
    """Images and teacher's outputs that this process reads through memory maps.

    A file that is cut meanwhile would be read as zeros, up to the end of its last page, without a word.

    Args:
        folder: Files below it are watched; on Linux alone.
    """

    def __init__(self, folder: Path) -> None:
        folder = folder.resolve()
        lines = os.fsdecode(MAPS.read_bytes()).splitlines() if MAPS.exists() else []
        paths = {Path(line.split(maxsplit=5)[5]) for line in lines if line.count("/")}
        self._sizes = {
            path: path.stat().st_size for path in paths if path.is_relative_to(folder) and path.is_file()
        }

    def check(self) -> None:
        """See that none was cut; one that was removed is read as it was.

        Raises:
            UnreachableError: Names the file.
        """
        for path, size in self._sizes.items():
            with suppress(FileNotFoundError):
                if path.stat().st_size < size:
                    raise UnreachableError(errno.EIO, f"{path}: was cut while it was read")
