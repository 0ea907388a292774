"""When a study will be done, from the epochs that its runs have trained."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from lpstudy.ledger import Record


@dataclass(frozen=True, slots=True)
class Epochs:
    """Of all runs of a study."""

    trained: int
    left: int
    """Of runs that train now and of those to come; a pruned one may leave out some of them."""


def count_epochs(records: Collection[Record], *, wanted: int, epochs: int) -> Epochs:
    """Epochs of the runs that have begun and of those that are to come.

    Args:
        records: Runs that have begun.
        wanted: How many there are to be.
        epochs: Of each.
    """
    running = sum(epochs - len(record.epochs) for record in records if record.state == "running")
    trained = sum(len(record.epochs) for record in records)
    return Epochs(trained, running + epochs * (wanted - len(records)))


class Eta:
    """Seconds that are left, by the rate since the first report: before it, processes were started.

    Args:
        clock: In seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None
        self._seconds: tuple[float, float] | None = None
        """At which moment how many were left."""

    def update(self, epochs: Epochs) -> None:
        """Take in how far the study is."""
        now = self._clock()
        if self._first is None:
            self._first = now, epochs.trained
        began, before = self._first
        if epochs.trained > before and now > began:
            self._seconds = now, epochs.left * (now - began) / (epochs.trained - before)

    def seconds(self) -> float | None:
        """What is left now; None before a rate is known. For any thread."""
        found = self._seconds
        return None if found is None else max(0.0, found[1] - (self._clock() - found[0]))
