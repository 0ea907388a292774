"""Signal handlers that ignore duplicate signals."""

import math
import time
from collections.abc import Callable
from types import FrameType

DUPLICATE_SECONDS = 1.0
"""Seconds within which a repeated signal counts as a duplicate."""
Handler = Callable[[int, FrameType | None], object]


def debounced(handler: Handler) -> Handler:
    """A handler that ignores a second signal at the same time.

    timeout(1) signals a command and then its group; a terminal signals the group, and its first process may
    forward the signal.
    """
    handled_at = -math.inf

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal handled_at
        now = time.monotonic()
        if now - handled_at >= DUPLICATE_SECONDS:
            handled_at = now
            handler(number, frame)

    return handle
