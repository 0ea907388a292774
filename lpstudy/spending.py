"""What a computation spends: the names and units of its figures, and how they add up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

SUMS = ("cpu_seconds", "gpu_seconds", "wall_seconds", "cpu_joules", "gpu_joules")
"""Figures that add up: CPU time of the processes; wall time times the share of a GPU; wall time; energy of
CPU packages and of a GPU, where the machine measures it."""
PEAKS = ("peak_bytes", "peak_gpu_bytes")
"""Figures of which the largest counts: resident memory of a process, and torch's memory on a GPU."""
SPENDING = (*SUMS, *PEAKS)
"""The figures of a run, a teacher or a bank, by their names in the ledger."""
STEP_SECONDS = "step_seconds"
"""Wall seconds of a run's training step, the mean over all its steps."""
TEACHER, BANK = "teacher", "bank"
PHASES = {
    TEACHER: "teacher",
    BANK: "teacher's outputs",
    "trial": "search",
    "candidate": "candidates",
    "final": "finals",
}
"""The phases of a study in their order, with their words; those of runs have the name of the runs' kind."""
MEASURED = ("seconds", STEP_SECONDS, *SPENDING)
"""The metrics of a run that differ when it is trained again."""


def total(figures: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The figures of several computations together; one that no computation has is left out.

    A figure that only some of them have is left out too: a part of a sum would pass for the whole.
    """
    rows = [dict(row) for row in figures]
    known = [name for name in SPENDING if rows and all(name in row for row in rows)]
    return {
        name: max(row[name] for row in rows) if name in PEAKS else sum(row[name] for row in rows)
        for name in known
    }


@dataclass(frozen=True, slots=True)
class PhaseSpending:
    """What a phase of a study has spent, or will."""

    phase: str
    """One of PHASES."""
    arm: str = ""
    """The arm's name; empty for teacher and bank, which all arms share."""
    runs: int = 1
    """How many computations it has: runs, or a bank's blocks."""
    macs: float | None = None
    """Multiply-accumulates; None where they are not known."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """By the names of SPENDING; absent where not known."""
    is_earlier: bool = False
    """Whether an earlier study spent it, whose result lay in the cache."""
    teacher: str = ""
    """The key of the teacher of a row of teacher or bank: a study may have several."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of computing; None where the study file has none."""

    cpu_hour: float | None = None
    """Of an hour of CPU time."""
    gpu_hour: float | None = None
    """Of an hour of a GPU."""
    currency: str = ""

    def money(self, figures: Mapping[str, float]) -> float | None:
        """The price of some figures; None without prices, and where a figure with a price is not known."""
        pairs = ((self.cpu_hour, "cpu_seconds"), (self.gpu_hour, "gpu_seconds"))
        parts = [(price, figures.get(name)) for price, name in pairs if price is not None]
        if not parts or any(seconds is None for _, seconds in parts):
            return None
        return sum(price * (seconds or 0.0) / 3600 for price, seconds in parts)


def times(row: PhaseSpending, runs: int) -> PhaseSpending:
    """So many equal runs, from one."""
    figures = {name: value if name in PEAKS else runs * value for name, value in row.figures.items()}
    return replace(row, runs=runs, macs=None if row.macs is None else runs * row.macs, figures=figures)


def without(row: PhaseSpending, part: PhaseSpending) -> PhaseSpending:
    """A row less a part of it; peaks stay those of the whole."""
    figures = {
        name: value if name in PEAKS else max(0.0, value - part.figures[name])
        for name, value in row.figures.items()
        if name in part.figures
    }
    macs = None if row.macs is None or part.macs is None else max(0.0, row.macs - part.macs)
    return PhaseSpending(row.phase, row.arm, max(0, row.runs - part.runs), macs, figures)


def joined(rows: Iterable[PhaseSpending], phase: str, arm: str = "") -> PhaseSpending:
    """Several computations as one row."""
    all_rows = [*rows]
    macs = [row.macs for row in all_rows]
    return PhaseSpending(
        phase,
        arm,
        sum(row.runs for row in all_rows),
        None if None in macs else sum(filter(None, macs)),
        total(row.figures for row in all_rows),
    )
