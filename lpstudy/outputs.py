"""Frozen records of tensors and numbers: a batch, a network's outputs, and the network interface."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from lpstudy.epoch_result import EpochResult

__all__ = ["NO_LABEL", "PROJECTED", "Batch", "Classifier", "EpochResult", "Network", "Outputs", "Partners"]

NO_LABEL = -1
"""The label of an image that has none."""
PROJECTED = "projected"
"""The map of a student's projector into the teacher's features, where it ends in the teacher's classifier."""


@dataclass(frozen=True, slots=True)
class Partners:
    """The second images of a batch whose images are mixtures of two: those with the smaller share."""

    labels: Tensor
    """Their labels, int64, shape (m,); NO_LABEL for an image without a label."""
    own_share: Tensor
    """float32, 0-dimensional: the share of the images of the batch's own labels, in [0.5, 1]."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One mini-batch of m samples, augmented and normalised, on the device of the step."""

    images: Tensor
    """float32, shape (m, channels, height, width)."""
    labels: Tensor
    """int64, shape (m,); NO_LABEL for an image without a label."""
    samples: Tensor
    """int64, shape (m,): each sample's position within its split."""
    view: int
    """The index of the deterministic crop and flip of every sample; 0 without augmentation."""
    partners: Partners | None = None
    """Where each image is a mixture of two; the batch's labels and samples have the larger share in it."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """A network's outputs for a batch of m images."""

    logits: Tensor
    """Shape (m, classes)."""
    embedding: Tensor
    """Penultimate features, shape (m, features); the classifier's input."""
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    """The requested maps in the order of the request, each of shape (m, channels, height, width)."""

    def detach(self) -> "Outputs":
        """The same values without a gradient."""
        maps = {name: value.detach() for name, value in self.maps.items()}
        return Outputs(self.logits.detach(), self.embedding.detach(), maps)

    def rows(self, index: Tensor) -> "Outputs":
        """The outputs of the samples at `index`, int64, shape (rows,)."""
        maps = {name: value[index] for name, value in self.maps.items()}
        return Outputs(self.logits[index], self.embedding[index], maps)


@dataclass(frozen=True, slots=True)
class Classifier:
    """A network's linear map from its embedding to its logits."""

    weight: Tensor
    """Shape (classes, features)."""
    bias: Tensor | None
    """Shape (classes,); None: there is none."""

    def __call__(self, embedding: Tensor) -> Tensor:
        """Logits, shape (m, classes), of embeddings of shape (m, features), in their precision."""
        bias = None if self.bias is None else self.bias.to(embedding.dtype)
        return functional.linear(embedding, self.weight.to(embedding.dtype), bias)

    def detach(self) -> "Classifier":
        """The same map without a gradient for its weights."""
        return Classifier(self.weight.detach(), None if self.bias is None else self.bias.detach())


class Network(torch.nn.Module, ABC):
    """A student or a teacher: images in, `Outputs` out."""

    map_names: tuple[str, ...]
    """The names of the network's intermediate maps, from the input to the classifier."""
    middle: str
    """The default hint layer (teacher) or guided layer (student)."""
    input_shape: tuple[int, int, int] | None = None
    """(channels, height, width) of an image, which `lpstudy.students.build` fills in."""
    classifier_name: str | None = None
    """The submodule that is the classifier; None: the last linear layer in the order of their definition."""

    @property
    def pooled(self) -> str | None:
        """The map whose average over positions is the embedding; None where there is no such map.

        `forward` gives it, whether it is among `map_names` or not.
        """
        return None

    @property
    def stages(self) -> tuple[str, ...]:
        """The maps from which methods of several layers choose by default."""
        return self.map_names

    @abstractmethod
    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        """Outputs for images of shape (m, channels, height, width), with the named maps in that order.

        Raises:
            ValueError: The network has no map of a name.
        """
