"""The small frozen records that tensors and numbers travel in between the layers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """One mini-batch of m samples, augmented and normalised, on the device of the step."""

    images: Tensor
    """float32, shape (m, channels, height, width)."""
    labels: Tensor
    """int64, shape (m,)."""
    samples: Tensor
    """int64, shape (m,): position of each sample within its split."""
    view: int
    """Which of its deterministic crops and flips every sample shows; 0 where nothing is augmented."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network gives for a batch of m images."""

    logits: Tensor
    """Shape (m, classes)."""
    embedding: Tensor
    """Penultimate features, shape (m, features); the classifier is computed from this very tensor."""
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    """The intermediate maps that were asked for, each of shape (m, channels, height, width)."""

    def detach(self) -> "Outputs":
        """The same values without a gradient."""
        maps = {name: value.detach() for name, value in self.maps.items()}
        return Outputs(self.logits.detach(), self.embedding.detach(), maps)

    def rows(self, index: Tensor) -> "Outputs":
        """The outputs of some samples; index has shape (rows,), int64."""
        maps = {name: value[index] for name, value in self.maps.items()}
        return Outputs(self.logits[index], self.embedding[index], maps)


class Network(torch.nn.Module, ABC):
    """A student or a teacher: images in, `Outputs` out."""

    map_names: tuple[str, ...]
    """The intermediate maps it can give, from the input to the classifier."""
    middle: str
    """The map used as hint layer (teacher) or guided layer (student) where a study names none."""

    @abstractmethod
    def forward(self, images: Tensor, maps: frozenset[str] = frozenset()) -> Outputs:
        """Outputs for images of shape (m, channels, height, width), with the maps named."""


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
