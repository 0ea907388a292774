"""A file that refuses to be read once its reader has used up its processor time.

Pillow reads from its file all through the decoding: no signal, thread or process is needed to stop it.
"""

import os
import time
from typing import BinaryIO

SECONDS = 20.0
"""Most processor time of an image; `image_limits` keeps good images well under it."""


class CostError(ValueError):
    """An image would take too long or too much memory."""


class LimitedFile:
    """A binary file whose `read` fails after `SECONDS` of the thread's processor time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start_time = time.thread_time()
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """See `io.RawIOBase`.

        Raises:
            CostError: The time is used up.
        """
        if time.thread_time() - self._start_time > SECONDS:
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
