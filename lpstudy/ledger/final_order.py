"""The order of candidates and finals: candidates first, then finals seed by seed over all arms."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial

from lpstudy.ledger.finals_progress import CANDIDATE, FinalsProgress
from lpstudy.ledger.row_models import KIND


class NextFinal(NamedTuple):
    """A candidate or final to start."""

    arm: str
    trial: FrozenTrial
    """The trial that it repeats."""
    seed: int
    is_candidate: bool

    @property
    def attribute(self) -> dict[str, Any]:
        """Its attribute `FINAL`."""
        row = {"number": self.trial.number, "seed": self.seed, "values": dict(self.trial.params)}
        return row | ({KIND: CANDIDATE} if self.is_candidate else {})


class FinalOrder:
    """Decides which candidate or final is next, so that a study that is cut short has whole pairs.

    Args:
        waits: Whether the finals of a seed wait until it is prepared: it has a teacher of its own.
    """

    def __init__(self, *, waits: bool) -> None:
        self.prepared: set[int] | None = set() if waits else None
        """The seeds whose finals may start; None for all."""

    def next(self, progress: Mapping[str, FinalsProgress]) -> NextFinal | None:
        """The next candidate or final of the arms; None where there is none that may start."""
        runs = [
            NextFinal(arm, *run, is_candidate=True)
            for arm, one in progress.items()
            for run in one.missing_candidates
        ] or [
            NextFinal(arm, *run, is_candidate=False)
            for arm, one in progress.items()
            for run in one.missing_of(self.prepared)
        ]
        return min(runs, key=lambda run: run.seed, default=None)

    def unprepared(self, progress: Iterable[FinalsProgress]) -> set[int]:
        """The seeds of finals to come that wait."""
        if self.prepared is None:
            return set()
        return {seed for one in progress for _, seed in one.missing_finals} - self.prepared

    def prepare(self, seed: int) -> None:
        """Let the finals of a seed start."""
        if self.prepared is not None:
            self.prepared.add(seed)
