"""The remaining time of a study, estimated from the epochs that its runs have trained."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from lpstudy.ledger import Record


@dataclass(frozen=True, slots=True)
class EpochCounts:
    """The epochs of all runs of a study."""

    trained: int
    remaining: int
    """Epochs of running and future runs; a run that is pruned later skips some of them."""


def count_epochs(
    records: Collection[Record], *, wanted: Mapping[str, int], epochs: Mapping[str, int]
) -> EpochCounts:
    """Count the epochs of the started runs and of the runs to come.

    Args:
        records: The started runs.
        wanted: The total number of runs of each arm.
        epochs: The number of epochs of each run, by arm.
    """
    running = sum(
        epochs[record.assignment.arm] - len(record.epochs) for record in records if record.state == "running"
    )
    trained = sum(len(record.epochs) for record in records)
    started = Counter(record.assignment.arm for record in records)
    return EpochCounts(trained, running + sum(epochs[arm] * (wanted[arm] - started[arm]) for arm in wanted))


class Eta:
    """The remaining seconds, by the rate since the first report: before it, processes were starting.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None
        self._seconds: tuple[float, float] | None = None
        """The time of the newest estimate and the seconds that remained then."""

    def update(self, epochs: EpochCounts) -> None:
        """Update the estimate with the current counts."""
        now = self._clock()
        if self._first is None:
            self._first = now, epochs.trained
        first_time, first_epochs = self._first
        if epochs.trained > first_epochs and now > first_time:
            self._seconds = now, epochs.remaining * (now - first_time) / (epochs.trained - first_epochs)

    def seconds(self) -> float | None:
        """The remaining seconds; None before a rate is known. Thread-safe."""
        estimate = self._seconds
        return None if estimate is None else max(0.0, estimate[1] - (self._clock() - estimate[0]))
