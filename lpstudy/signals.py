"""Handlers of signals that end a command."""

import math
import time
from collections.abc import Callable
from types import FrameType

ECHO = 1.0
"""Seconds in which a signal that comes again is still the same one."""
Handler = Callable[[int, FrameType | None], object]


def debounced(handler: Handler) -> Handler:
    """A handler that hears a signal once where it comes twice at the same time.

    timeout(1) signals a command and then its group; a terminal signals the group, and its first process may
    pass the signal on.
    """
    heard = -math.inf

    def heed(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        now = time.monotonic()
        if now - heard >= ECHO:
            heard = now
            handler(number, frame)

    return heed
