"""Progress of a study: one live line on a terminal, a line at each finished run in a log."""

import math
import sys
import time

from tqdm import tqdm

from lpstudy import terminal
from lpstudy.command.eta import Eta, count_epochs
from lpstudy.command.formatting import duration
from lpstudy.ledger import Assignment, Ledger, Record
from lpstudy.outputs import EpochResult
from lpstudy.tables.weak_teacher import half_warning
from lpstudy.teacher import TrainedTeacher

REFRESH = 1.0
"""Seconds between two pictures of the live line while nothing finishes."""
EVERY = 60.0
"""Seconds between two lines of a log while nothing finishes."""


class Console:
    """Hears of changes and shows where the study stands.

    Args:
        ledger: Asked for counts and the best so far.
        live: Whether standard error is a terminal.
        teacher: The study's, against which students are held; None: they are not.
    """

    def __init__(self, ledger: Ledger, *, live: bool, teacher: TrainedTeacher | None = None) -> None:
        self._ledger = ledger
        self._teacher: float | None = None
        if teacher is not None and teacher.file_classes is None:
            self._teacher = teacher.validation_accuracy
        self._states = {r.assignment.key: r for r in ledger.records() if r.state != "infeasible"}
        self._began, self._said = time.monotonic(), -math.inf
        self._before = self._ended = self._done()
        self._warned: set[tuple[str, str]] = set()
        self._eta = Eta()
        self._bar = tqdm(total=1, file=sys.stderr, bar_format=_FORMAT, dynamic_ncols=True) if live else None
        self._update()

    def changed(self, assignment: Assignment) -> None:
        """Show a run's change."""
        recent = time.monotonic() - self._said < (REFRESH if self._bar is not None else EVERY)
        if recent and self._ledger.is_running(assignment):
            return
        record = self._ledger.record(assignment)
        self._states[assignment.key] = record
        for key, other in self._states.items():
            if other.state == "running":  # others have trained meanwhile
                self._states[key] = self._ledger.record(other.assignment)
        self._ended = self._done()
        self._warn(record)
        self._said = time.monotonic()
        self._update(record)
        if self._bar is None:
            self._line(record)

    def say(self, text: str) -> None:
        """A line of its own."""
        if self._bar is not None:
            self._bar.write(terminal.for_stream(text, sys.stderr), file=sys.stderr)
        else:
            terminal.say(text)

    def rate(self) -> float | None:
        """Runs an hour since this console was made; None before the first has ended. For any thread."""
        fresh = self._ended - self._before
        return 3600 * fresh / (time.monotonic() - self._began) if fresh else None

    def eta(self) -> float | None:
        """Seconds that are left, from the epochs trained; None before a rate is known. For any thread."""
        return self._eta.seconds()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()

    def _done(self) -> int:
        return sum(record.state != "running" for record in self._states.values())

    def _update(self, record: Record | None = None) -> None:
        """Count the epochs, and show them on a terminal."""
        wanted, length = self._ledger.expected_runs, self._ledger.spec.budget.epochs
        epochs = count_epochs(self._states.values(), wanted=wanted, epochs=length)
        if record is not None:
            self._eta.update(epochs)
        if self._bar is not None:
            self._bar.total, self._bar.n = wanted * length, wanted * length - epochs.left
            words = "starting processes" if record is None else f"{self._where(record)}, {self._best()}"
            self._bar.set_postfix_str(
                terminal.for_stream(f"{self._left()}{words}", sys.stderr), refresh=False
            )
            self._bar.set_description_str(f"{self._done()}/{wanted} runs")

    def _left(self) -> str:
        seconds = self._eta.seconds()
        return f"ETA {duration(seconds)}, " if seconds is not None else ""

    def _where(self, record: Record) -> str:
        """A run that trains, and how far it is."""
        length = self._ledger.spec.budget.epochs
        return f"{record.assignment.key} epoch {len(record.epochs)}/{length}"

    def _best(self) -> str:
        """The best validation accuracy so far and its arm."""
        trials = [r for r in self._states.values() if r.state == "finished" and r.assignment.kind == "trial"]
        if not trials:
            return "best: none yet"
        best = max(trials, key=lambda record: record.last["validation_accuracy"])
        return f"best {best.assignment.arm} {best.last['validation_accuracy']:.2f} %"

    def _line(self, record: Record) -> None:
        accuracy = record.last.get("validation_accuracy")
        shown = f" {accuracy:.2f} %" if accuracy is not None else ""
        cause = f" ({record.cause})" if record.cause else ""
        run = f"{record.assignment.key} {record.state}"
        if record.state == "running":
            run = f"{self._where(record)}, running,"
        left = self._left().removesuffix(", ")
        eta = f", {left}" if left else ""
        self.say(f"{self._done()}/{self._ledger.expected_runs} {run}{shown}{cause}; {self._best()}{eta}")

    def _warn(self, record: Record) -> None:
        for text in record.warnings:
            if (record.assignment.arm, text) not in self._warned:
                self._warned.add((record.assignment.arm, text))
                self.say(f"warning: {record.assignment.key}: {text}")
        if record.state == "finished" and self._teacher is not None:
            half = half_warning(self._teacher, record.last["validation_accuracy"])
            if half is not None:
                self._teacher = None  # once
                self.say(f"warning: {half}")


def teacher_line(result: EpochResult, epochs: int) -> str:
    """Where the teacher's training stands."""
    return f"teacher: epoch {result.epoch}/{epochs}, validation {result.metrics['validation_accuracy']:.2f} %"


_FORMAT = "{desc} |{bar:20}| {elapsed}{postfix}"
"""What a narrow terminal cuts off comes last."""
