"""A file that gives nothing more once its reader has used up its processor time.

Pillow reads on again and again while it decodes, so that no signal, thread or process is needed to stop it.
"""

import os
import time
from typing import BinaryIO

SECONDS = 20.0
"""Processor time that an image may take; `image_limits` keeps what is good well under it."""


class CostError(ValueError):
    """An image would take too long or too much memory."""


class LimitedFile:
    """A file that Pillow reads from, as long as the thread has processor time left for it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._began = time.thread_time()
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """See `io.RawIOBase`.

        Raises:
            CostError: The time is up.
        """
        if time.thread_time() - self._began > SECONDS:
            raise CostError(f"takes more than {SECONDS:g} s to decode")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._file.tell()

    def fileno(self) -> int:
        """See `io.RawIOBase`."""
        return self._file.fileno()

    def flush(self) -> None:
        """See `io.RawIOBase`: nothing is written."""

    def close(self) -> None:
        """See `io.RawIOBase`."""
        self.closed = True
        self._file.close()
