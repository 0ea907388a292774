"""Directives to a run: continue, checkpoint, pause, abandon."""

from collections.abc import Callable
from enum import IntEnum


class Directive(IntEnum):
    """The answer to a poll, a number so that workers can broadcast it."""

    CONTINUE = 0
    PAUSE = 1
    """Write a checkpoint and stop."""
    ABANDON = 2
    """Stop and write nothing: another process owns the files now."""
    CHECKPOINT = 3
    """Write a checkpoint and continue; only the training loop itself requests it."""


Poll = Callable[[], Directive]


def always_continue() -> Directive:
    """The poll of a run that nobody stops."""
    return Directive.CONTINUE
