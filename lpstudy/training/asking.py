"""What a run is asked to do, between two epochs and now and then within one."""

from collections.abc import Callable
from enum import IntEnum


class Ask(IntEnum):
    """A number, so that workers can tell each other."""

    GO_ON = 0
    PAUSE = 1
    """Write a checkpoint and end."""
    LEAVE = 2
    """End and write nothing: what is on disk belongs to another process now."""
    KEEP = 3
    """Write a checkpoint and go on; the loop asks itself for it."""


Asking = Callable[[], Ask]


def go_on() -> Ask:
    """Nobody asks for anything."""
    return Ask.GO_ON
