"""A network of one's own: a perceptron with two hidden layers, and no maps to compare."""

import torch
from torch import Tensor, nn

from lpstudy.outputs import Network, Outputs
from lpstudy.students import StudentSpec, register_family


class Perceptron(Network):
    """Two hidden layers of `width` units with ReLU; the embedding is the second one."""

    map_names = ()
    middle = ""

    def __init__(self, pixels: int, width: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(pixels, width), nn.Linear(width, width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        hidden = torch.relu(self.first(images.flatten(1)))
        embedding = torch.relu(self.second(hidden))
        return Outputs(self.classifier(embedding), embedding)


def build(spec: StudentSpec, *, input_shape: tuple[int, int, int], classes: int) -> Perceptron:
    """The network of `family = "perceptron"`, which has a width and neither a depth nor designs."""
    if spec.width is None or spec.depth is not None or spec.design is not None:
        raise ValueError("family perceptron needs a width, and nothing else")
    channels, height, width = input_shape
    return Perceptron(channels * height * width, spec.width, classes)


register_family("perceptron", build)
