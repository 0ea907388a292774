"""The result of one epoch of a run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class EpochResult:
    """Metrics and warnings of one epoch. Accuracies are in percent, losses in nats, times in seconds."""

    epoch: int
    """The epoch's number, from 1."""
    metrics: Mapping[str, float]
    """Finite numbers by name, always with `validation_accuracy`."""
    warnings: tuple[str, ...] = ()
    test_correct: str = ""
    """The record of correctly classified test images (`correctness.pack`); only in a final's last epoch."""

    def as_row(self) -> dict[str, Any]:
        """The result as a JSON object, without an empty `test_correct`."""
        row = asdict(self)
        return (
            row if self.test_correct else {key: value for key, value in row.items() if key != "test_correct"}
        )

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """The result from a row of `as_row`."""
        return cls(row["epoch"], row["metrics"], tuple(row["warnings"]), row.get("test_correct", ""))
