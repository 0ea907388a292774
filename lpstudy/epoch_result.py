"""What one epoch of a run gave."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one epoch of a trial gave. Accuracies are in percent, losses in nats, times in seconds."""

    epoch: int
    """Counted from 1."""
    metrics: Mapping[str, float]
    """Finite numbers only; `validation_accuracy` is always among them."""
    warnings: tuple[str, ...] = ()
    test_correct: str = ""
    """Which test images are classified correctly (`correctness.pack`); of a final's last epoch alone."""

    def as_row(self) -> dict[str, Any]:
        """A dictionary fit for JSON; what is empty in most epochs is left out."""
        row = asdict(self)
        return (
            row if self.test_correct else {key: value for key, value in row.items() if key != "test_correct"}
        )

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """What `as_row` made the row of."""
        return cls(row["epoch"], row["metrics"], tuple(row["warnings"]), row.get("test_correct", ""))
