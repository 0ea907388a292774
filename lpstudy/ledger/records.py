"""Records of the ledger: assignments, the state of a run, and the ends of `Ledger.next`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lpstudy.epoch_result import EpochResult

if TYPE_CHECKING:  # the networks of a study take seconds to import
    from lpstudy.space import Scalar

Kind = Literal["trial", "candidate", "final"]
State = Literal["running", "finished", "pruned", "failed", "infeasible"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """A run to train: a trial of the search; a candidate or a final, which trains one of them on one seed."""

    kind: Kind
    arm: str
    number: int
    """The trial's number within its arm; for a candidate or final that of the trial that it repeats."""
    seed: int
    values: "Mapping[str, Scalar]"
    """The searched hyperparameters."""
    attempt: int
    storage_id: int
    """The trial's id in the Optuna storage."""

    @property
    def key(self) -> str:
        """The run's key, unique in the study and valid as a folder name."""
        suffix = "" if self.kind == "trial" else f"-seed-{self.seed}"
        return f"{self.arm}/{self.kind}-{self.number}{suffix}"


@dataclass(frozen=True, slots=True)
class Record:
    """A run's assignment, state, epochs and times."""

    assignment: Assignment
    state: State
    epochs: tuple[EpochResult, ...]
    cause: str | None
    """The reason for the failure."""
    started: float | None
    ended: float | None
    """Seconds since 1970, for display alone."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each distinct warning, in order of first appearance."""
        return tuple(dict.fromkeys(text for epoch in self.epochs for text in epoch.warnings))

    @property
    def test_correct(self) -> str:
        """Which test images a final classifies correctly (`correctness.pack`); empty before its end."""
        return self.epochs[-1].test_correct if self.epochs else ""

    @property
    def last(self) -> Mapping[str, float]:
        """The last epoch's metrics; empty before the first epoch."""
        return self.epochs[-1].metrics if self.epochs else {}


class Waiting:
    """No run is available before a running trial ends."""


class Done:
    """All runs of the study have ended."""
