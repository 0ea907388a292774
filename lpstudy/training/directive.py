"""What a run is asked to do, between two epochs and now and then within one."""

from collections.abc import Callable
from enum import IntEnum


class Directive(IntEnum):
    """A number, so that workers can tell each other."""

    CONTINUE = 0
    PAUSE = 1
    """Write a checkpoint and end."""
    ABANDON = 2
    """End and write nothing: what is on disk belongs to another process now."""
    CHECKPOINT = 3
    """Write a checkpoint and go on; the loop asks itself for it."""


Poll = Callable[[], Directive]


def always_continue() -> Directive:
    """Nobody asks for anything."""
    return Directive.CONTINUE
