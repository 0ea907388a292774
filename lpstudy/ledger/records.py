"""What the ledger hands out and what it knows of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lpstudy.epoch_result import EpochResult

if TYPE_CHECKING:  # the networks of a study take seconds to import
    from lpstudy.space import Scalar

Kind = Literal["trial", "final"]
State = Literal["running", "finished", "pruned", "failed", "infeasible"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """A run to be done: a trial of the search, or a final, that is an arm's winner on one seed."""

    kind: Kind
    arm: str
    number: int
    """Of the trial within its arm; for a final the number of the trial that won."""
    seed: int
    values: "Mapping[str, Scalar]"
    """The searched hyperparameters."""
    attempt: int
    storage_id: int
    """Of the trial in the Optuna storage."""

    @property
    def key(self) -> str:
        """Unique in the study and fit for a folder's name."""
        suffix = f"-seed-{self.seed}" if self.kind == "final" else ""
        return f"{self.arm}/{self.kind}-{self.number}{suffix}"


@dataclass(frozen=True, slots=True)
class Record:
    """All that the ledger knows of a run."""

    assignment: Assignment
    state: State
    epochs: tuple[EpochResult, ...]
    cause: str | None
    """Why it failed."""
    started: float | None
    ended: float | None
    """Seconds since 1970, for display alone."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each warning once, in the order of its first appearance."""
        return tuple(dict.fromkeys(text for epoch in self.epochs for text in epoch.warnings))

    @property
    def test_correct(self) -> str:
        """Which test images a final classifies correctly (`correctness.pack`); empty before its end."""
        return self.epochs[-1].test_correct if self.epochs else ""

    @property
    def last(self) -> Mapping[str, float]:
        """The metrics of the last epoch; empty before the first."""
        return self.epochs[-1].metrics if self.epochs else {}


class Waiting:
    """Nothing to hand out before a running trial ends."""


class Done:
    """Everything the study wants has been done."""
