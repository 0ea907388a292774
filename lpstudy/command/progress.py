"""The progress of a study's trials: one live line on a terminal, a line per finished run in a log."""

import math
import sys
import time

from tqdm.auto import tqdm

from lpstudy import terminal
from lpstudy.command.eta import Eta, count_epochs
from lpstudy.command.quantities import duration
from lpstudy.ledger import Assignment, Ledger, Record
from lpstudy.outputs import EpochResult
from lpstudy.tables.weak_teacher import half_warning
from lpstudy.teacher import TrainedTeacher

REFRESH_SECONDS = 1.0
"""Seconds between two updates of the live line while no run finishes."""
LOG_SECONDS = 60.0
"""Seconds between two lines of a log while no run finishes."""


class Console:
    """The display of a study's progress, updated at every change of a run.

    Args:
        ledger: The source of the counts and of the best accuracy.
        live: Whether standard error shows a progress bar: a terminal or a notebook.
        teacher: The study's teacher, with which students are compared; None skips the comparison.
    """

    def __init__(self, ledger: Ledger, *, live: bool, teacher: TrainedTeacher | None = None) -> None:
        self._ledger = ledger
        self._teacher: float | None = None
        if teacher is not None and teacher.file_classes is None:
            self._teacher = teacher.validation_accuracy
        self._states = {r.assignment.key: r for r in ledger.records() if r.state != "infeasible"}
        self._started_at, self._printed_at = time.monotonic(), -math.inf
        self._ended_at_start = self._ended = self._count_ended()
        self._warned: set[tuple[str, str]] = set()
        self._eta = Eta()
        self._bar = tqdm(total=1, file=sys.stderr, bar_format=_FORMAT, dynamic_ncols=True) if live else None
        self._update()

    def changed(self, assignment: Assignment) -> None:
        """Show the change of a run."""
        interval = REFRESH_SECONDS if self._bar is not None else LOG_SECONDS
        is_recent = time.monotonic() - self._printed_at < interval
        if is_recent and self._ledger.is_running(assignment):
            return
        record = self._ledger.record(assignment)
        self._states[assignment.key] = record
        for key, other in self._states.items():
            if other.state == "running":  # other runs have trained meanwhile
                self._states[key] = self._ledger.record(other.assignment)
        self._ended = self._count_ended()
        self._warn(record)
        self._printed_at = time.monotonic()
        self._update(record)
        if self._bar is None:
            self._line(record)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        if self._bar is not None:
            self._bar.write(terminal.for_stream(text, sys.stderr), file=sys.stderr)
        else:
            terminal.say(text)

    def rate(self) -> float | None:
        """Runs per hour since this display was created; None before the first has ended. Thread-safe."""
        count = self._ended - self._ended_at_start
        return 3600 * count / (time.monotonic() - self._started_at) if count else None

    def eta(self) -> float | None:
        """Remaining seconds, from the rate of epochs; None before a rate is known. Thread-safe."""
        return self._eta.seconds()

    def close(self) -> None:
        """Remove the live line from the terminal."""
        if self._bar is not None:
            self._bar.close()

    def _count_ended(self) -> int:
        return sum(record.state != "running" for record in self._states.values())

    def _update(self, record: Record | None = None) -> None:
        """Count the epochs, and show them on a terminal."""
        runs, lengths = self._ledger.expected_by_arm, {n: a.epochs for n, a in self._ledger.arms.items()}
        epochs = count_epochs(self._states.values(), wanted=runs, epochs=lengths)
        wanted, all_epochs = sum(runs.values()), sum(runs[arm] * lengths[arm] for arm in runs)
        if record is not None:
            self._eta.update(epochs)
        if self._bar is not None:
            if self._bar.total != all_epochs:
                self._bar.reset(total=all_epochs)
            self._bar.n = all_epochs - epochs.remaining
            words = (
                "starting processes" if record is None else f"{self._running_text(record)}, {self._best()}"
            )
            self._bar.set_postfix_str(
                terminal.for_stream(f"{self._eta_text()}{words}", sys.stderr), refresh=False
            )
            self._bar.set_description_str(f"{self._count_ended()}/{wanted} runs")

    def _eta_text(self) -> str:
        seconds = self._eta.seconds()
        return f"ETA {duration(seconds)}, " if seconds is not None else ""

    def _running_text(self, record: Record) -> str:
        """A running run and its progress."""
        length = self._ledger.arms[record.assignment.arm].epochs
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
        percent = f" {accuracy:.2f} %" if accuracy is not None else ""
        cause = f" ({record.cause})" if record.cause else ""
        run = f"{record.assignment.key} {record.state}"
        if record.state == "running":
            run = f"{self._running_text(record)}, running,"
        eta_text = self._eta_text().removesuffix(", ")
        eta = f", {eta_text}" if eta_text else ""
        self.say(
            f"{self._count_ended()}/{self._ledger.expected_runs} {run}{percent}{cause}; {self._best()}{eta}"
        )

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
    """A line on the progress of the teacher's training."""
    return f"teacher: epoch {result.epoch}/{epochs}, validation {result.metrics['validation_accuracy']:.2f} %"


_FORMAT = "{desc} |{bar:20}| {elapsed}{postfix}"
"""Format of the live line; a narrow terminal cuts off its end."""
