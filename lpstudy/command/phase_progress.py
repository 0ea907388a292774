"""The display of a sweep's phases before its trials: a live line on a terminal, occasional lines of a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lpstudy import terminal
from lpstudy.command.progress import LOG_SECONDS, teacher_line
from lpstudy.command.quantities import duration
from lpstudy.outputs import EpochResult
from lpstudy.study import BankProgress
from lpstudy.teacher import TrainedTeacher

CLEAR = "\r\x1b[K"
"""Clears a terminal's current line."""


@contextmanager
def on_terminal(text: str) -> Iterator[None]:
    """A context that shows on a terminal what is being done; a log shows nothing."""
    live = sys.stderr.isatty()
    if live:
        terminal.say(f"{text} ...", before=CLEAR, end="")
    try:
        yield
    finally:
        if live:
            terminal.say("", before=CLEAR, end="")


@contextmanager
def with_announcement(text: str) -> Iterator[None]:
    """A context that shows what is being done, on a terminal or as a line of a log."""
    if not sys.stderr.isatty():
        terminal.say(text)
    with on_terminal(text):
        yield


class PhaseProgress:
    """A phase's progress as one line that is overwritten on a terminal, or as occasional lines of a log."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._printed_at = time.monotonic() - LOG_SECONDS
        self.has_shown = False
        """Whether there was any progress."""

    def begin(self, text: str) -> None:
        """Announce the start of a phase."""
        self._print(text, end="" if self._live else "\n")

    def show(self, text: str) -> None:
        """Show the progress, unless it was shown a moment ago."""
        self.has_shown = True
        if time.monotonic() - self._printed_at >= (1 if self._live else LOG_SECONDS):
            self._printed_at = time.monotonic()
            self._print(text, end="" if self._live else "\n")

    def say(self, text: str) -> None:
        """Print a permanent line; the next progress line follows a while later."""
        self._printed_at = time.monotonic()
        self._print(text, end="\n")

    def _print(self, text: str, *, end: str) -> None:
        terminal.say(text, before=CLEAR if self._live else "", end=end)


def follow_teacher(
    results: Iterable[EpochResult | TrainedTeacher], progress: PhaseProgress, epochs: int
) -> TrainedTeacher | None:
    """Show the epochs of a teacher's training until it is trained; None if it ended before."""
    for result in results:
        if isinstance(result, TrainedTeacher):
            return result
        for text in result.warnings:
            progress.say(f"warning: teacher: {text}")
        progress.show(teacher_line(result, epochs))
    return None


def follow_bank(blocks: Iterable[BankProgress], progress: PhaseProgress) -> None:
    """Show the progress of filling a bank to its end."""
    if sys.stderr.isatty():
        progress.begin("teacher's outputs: starting")
    started_at, first = time.monotonic(), None
    for bank in blocks:
        if bank.note:
            progress.say(f"teacher's outputs: {bank.note}")
            continue
        first = bank.blocks_done - 1 if first is None else first
        rate = (bank.blocks_done - first) / max(time.monotonic() - started_at, 1e-9)
        eta = duration((bank.blocks_total - bank.blocks_done) / rate)
        progress.show(f"teacher's outputs: {bank.blocks_done / bank.blocks_total:.0%}, ETA {eta}")
    if first is not None:
        progress.say(f"teacher's outputs: computed in {duration(time.monotonic() - started_at)}")
