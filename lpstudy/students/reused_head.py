"""A student that ends in the teacher's classifier instead of its own (Chen et al., arXiv 2203.14001)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lpstudy.outputs import PROJECTED, Classifier, Network, Outputs
from lpstudy.students.layers import classifier_layer

REDUCTION = 2
"""Channels of the teacher's map over those between the projector's 1x1 convolutions."""


@dataclass(frozen=True, slots=True)
class HeadShape:
    """What a student must know of the teacher whose classifier it ends in."""

    features: int
    """The classifier's inputs: channels of the map whose average they are."""
    rows: int
    columns: int
    """Size of that map; 1 x 1 where the teacher's embedding is no average of a map."""
    has_bias: bool

    @classmethod
    def of(cls, teacher: Network, input_shape: tuple[int, int, int]) -> "HeadShape":
        """The shape of a teacher, which may be on the meta device.

        Raises:
            ValueError: Its logits are not a linear layer of its embedding.
        """
        _, layer = classifier_layer(teacher, input_shape)
        size = pooled_size(teacher, input_shape)
        return cls(layer.in_features, *size, layer.bias is not None)


def pooled_size(network: Network, input_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Rows and columns of the map whose average is the embedding; (1, 1) where there is no such map."""
    if network.pooled is None:
        return 1, 1
    device, was_training = next(network.parameters()).device, network.training
    with torch.no_grad():
        outputs: Outputs = network.eval()(torch.zeros(1, *input_shape, device=device), (network.pooled,))
    network.train(was_training)
    rows, columns = outputs.maps[network.pooled].shape[2:]
    return rows, columns


class ReusedHeadNetwork(Network):
    """A network without its classifier, a projector into the teacher's features, the teacher's classifier.

    The projector is 1x1 - 3x3 - 1x1 convolutions, each with batch norm and ReLU, from the map whose average
    is the student's embedding; where there is no such map, from the embedding as a map of one place. Where
    that map is larger than the teacher's, it is averaged down to its size first. The embedding is the average
    of the projector's map `projected`.

    Args:
        network: The student; its classifier is taken out.
        teacher: The shape of the teacher's last map and classifier.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.

    Raises:
        ValueError: The student's own logits are not a linear layer of its embedding.

    Source: section 3.2 of the paper; layers as in the authors' code, https://github.com/DefangChen/SimKD.
    """

    def __init__(
        self, network: Network, teacher: HeadShape, *, input_shape: tuple[int, int, int], classes: int
    ) -> None:
        super().__init__()
        name, layer = classifier_layer(network, input_shape)
        network.set_submodule(name, nn.Identity())
        self.network = network
        self.teacher = teacher
        self.map_names, self.middle = (*network.map_names, PROJECTED), network.middle
        hidden = max(1, teacher.features // REDUCTION)
        self.projector = nn.Sequential(
            *_stage(layer.in_features, hidden, 1),
            *_stage(hidden, hidden, 3),
            *_stage(hidden, teacher.features, 1),
        )
        self.classifier = nn.Linear(teacher.features, classes, bias=teacher.has_bias).requires_grad_(False)

    @property
    def pooled(self) -> str:
        """The projector's map."""
        return PROJECTED

    @torch.no_grad()
    def reuse(self, classifier: Classifier) -> None:
        """Copy the teacher's classifier, which training does not change."""
        self.classifier.weight.copy_(classifier.weight)
        if self.classifier.bias is not None and classifier.bias is not None:
            self.classifier.bias.copy_(classifier.bias)

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        """Outputs for images of shape (m, channels, height, width)."""
        pooled = self.network.pooled
        names = (*(name for name in maps if name != PROJECTED), *((pooled,) if pooled else ()))
        outputs: Outputs = self.network(images, names)
        source = outputs.maps[pooled] if pooled else outputs.embedding[:, :, None, None]
        size = (min(source.shape[2], self.teacher.rows), min(source.shape[3], self.teacher.columns))
        if size != tuple(source.shape[2:]):
            source = functional.adaptive_avg_pool2d(source, size)
        projected = self.projector(source)
        embedding = projected.mean(dim=(2, 3))
        all_maps = {**outputs.maps, PROJECTED: projected}
        return Outputs(self.classifier(embedding), embedding, {name: all_maps[name] for name in maps})


def _stage(inputs: int, outputs: int, kernel: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
