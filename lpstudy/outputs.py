"""The small frozen records that tensors and numbers travel in between the layers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lpstudy.epoch_result import EpochResult

__all__ = ["Batch", "EpochResult", "Network", "Outputs"]


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
