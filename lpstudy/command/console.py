"""Progress of a study: one live line on a terminal, a line at each finished run in a log."""

import sys
import time
from collections import Counter
from collections.abc import Iterable

from tqdm import tqdm

from lpstudy import terminal
from lpstudy.ledger import Assignment, Ledger, Record
from lpstudy.outputs import EpochResult

REFRESH = 1.0
"""Seconds between two pictures of the live line while nothing finishes."""
EVERY = 60.0
"""Seconds between two lines of a log while nothing finishes."""


class Console:
    """Hears of changes and shows where the study stands.

    Args:
        ledger: Asked for counts and the best so far.
        live: Whether standard error is a terminal.
    """

    def __init__(self, ledger: Ledger, *, live: bool) -> None:
        self._ledger = ledger
        self._states = {r.assignment.key: r for r in ledger.records() if r.state != "infeasible"}
        self._began, self._said = time.monotonic(), time.monotonic()
        self._before = self._ended = self._done()
        self._warned: set[tuple[str, str]] = set()
        total = ledger.wanted
        self._bar = (
            tqdm(total=total, initial=self._before, file=sys.stderr, bar_format=_FORMAT, dynamic_ncols=True)
            if live
            else None
        )

    def changed(self, assignment: Assignment) -> None:
        """Show a run's change."""
        recent = time.monotonic() - self._said < (REFRESH if self._bar is not None else EVERY)
        if recent and self._ledger.running(assignment):
            return
        record = self._ledger.record(assignment)
        self._states[assignment.key] = record
        self._ended = self._done()
        self._warn(record)
        if self._bar is not None:
            self._said = time.monotonic()
            self._bar.total, self._bar.n = self._ledger.wanted, self._done()
            self._bar.set_description_str(
                terminal.for_stream(f"{assignment.arm}, {self._best()}", sys.stderr)
            )
        elif record.state != "running" or time.monotonic() - self._said >= EVERY:
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

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()

    def _done(self) -> int:
        return sum(record.state != "running" for record in self._states.values())

    def _best(self) -> str:
        """The best validation accuracy so far and its arm."""
        trials = [r for r in self._states.values() if r.state == "finished" and r.assignment.kind == "trial"]
        if not trials:
            return "best: none yet"
        best = max(trials, key=lambda record: record.last["validation_accuracy"])
        return f"best {best.assignment.arm} {best.last['validation_accuracy']:.2f} %"

    def _line(self, record: Record) -> None:
        self._said = time.monotonic()
        done, total = self._done(), self._ledger.wanted
        fresh = done - self._before
        left = (total - done) * (time.monotonic() - self._began) / fresh if fresh else None
        accuracy = record.last.get("validation_accuracy")
        shown = f" {accuracy:.2f} %" if accuracy is not None else ""
        cause = f" ({record.cause})" if record.cause else ""
        eta = f", ETA {duration(left)}" if left is not None else ""
        self.say(f"{done}/{total} {record.assignment.key} {record.state}{shown}{cause}; {self._best()}{eta}")

    def _warn(self, record: Record) -> None:
        for text in record.warnings:
            if (record.assignment.arm, text) not in self._warned:
                self._warned.add((record.assignment.arm, text))
                self.say(f"warning: {record.assignment.key}: {text}")


def teacher_line(result: EpochResult, epochs: int) -> str:
    """Where the teacher's training stands."""
    return f"teacher: epoch {result.epoch}/{epochs}, validation {result.metrics['validation_accuracy']:.2f} %"


def counts(records: Iterable[Record]) -> Counter[str]:
    """How many runs are in each state."""
    return Counter(record.state for record in records)


def duration(seconds: float) -> str:
    """About how long, in words: 45 s, 12 min, 3.5 h, 2.0 days."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def size_words(size: int) -> str:
    """Bytes in kB, MB or GB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{three_digits(size / unit)} {name}"
    return f"{three_digits(size / 1e3)} kB"


def three_digits(value: float) -> str:
    """0.52, 71.3, 4,790: at least three digits where there are so many, no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


_FORMAT = "{n_fmt}/{total_fmt} |{bar:20}| {elapsed}, ETA {remaining}  {desc}"
"""What a narrow terminal cuts off comes last."""
