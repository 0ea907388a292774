"""Measured latencies of teacher and winners, and where they rank students otherwise than MACs do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

from lpstudy.latency_row import LatencyRow

TEACHER_MODEL = "teacher"
"""The teacher's name among the measured networks."""
RUNTIME = "onnxruntime"
"""The runtime of the comparison's column, in which a student is used."""
MARGIN = 1.1
"""Ratio of two latencies below which they count as equal: what a busy machine adds."""
MOST_PAIRS = 5


@dataclass(frozen=True, slots=True)
class LatencyFacts:
    """Latencies on one machine."""

    machine: str
    """The machine in words."""
    rows: tuple[LatencyRow, ...]
    skipped: tuple[str, ...] = ()
    """What was not measured, and why; one line each."""

    @property
    def target(self) -> str:
        """The target of the comparison's column: the first one that was measured."""
        return self.rows[0].target if self.rows else ""

    @property
    def columns(self) -> tuple[tuple[str, int, str], ...]:
        """Target, batch and runtime of each column of the report's table, in the order of the rows."""
        return tuple(dict.fromkeys((row.target, row.batch, row.runtime) for row in self.rows))

    def find(self, model: str, target: str, batch: int, runtime: str) -> LatencyRow | None:
        """The row of a network; None where it was not measured."""
        key = (model, target, batch, runtime)
        return next(
            (row for row in self.rows if (row.model, row.target, row.batch, row.runtime) == key), None
        )

    def single_image(self, model: str) -> LatencyRow | None:
        """The comparison's figure of a network: one image with onnxruntime on the first target."""
        return self.find(model, self.target, 1, RUNTIME)


@dataclass(frozen=True, slots=True)
class RankChange:
    """Two students of which the one with fewer MACs takes longer."""

    smaller: str
    """The label of the one with fewer MACs."""
    larger: str
    macs_ratio: float
    """MACs of the smaller one over those of the larger one, below 1."""
    time_ratio: float
    """Their latencies, above 1."""


def rank_changes(facts: LatencyFacts, macs: Mapping[str, float]) -> list[RankChange]:
    """The pairs of students that MACs and latency rank differently, the clearest first.

    Args:
        facts: The latencies.
        macs: Multiply-accumulates of one image by the label of the student.
    """
    return sorted(_changes(facts, macs), key=lambda change: -change.time_ratio)


def _changes(facts: LatencyFacts, macs: Mapping[str, float]) -> Iterator[RankChange]:
    times = {label: row.median_ms for label in macs if (row := facts.single_image(label)) is not None}
    for small, large in permutations(times, 2):
        if macs[small] < macs[large] and times[small] > MARGIN * times[large]:
            yield RankChange(small, large, macs[small] / macs[large], times[small] / times[large])
