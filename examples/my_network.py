"""A network of one's own: two separable convolutions, each a map that methods may compare."""

from torch import Tensor, nn

from lpstudy.outputs import Network, Outputs
from lpstudy.students import StudentSpec, register_family
from lpstudy.students.layers import check_maps, run_layers


def separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """A 3x3 convolution of each channel, then a 1x1 convolution over channels, batch normalisation, ReLU."""
    depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
    pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
    return nn.Sequential(depthwise, pointwise, nn.BatchNorm2d(outputs), nn.ReLU())


class SeparableNet(Network):
    """The embedding is the mean over places of the second layer's 2 * width channels."""

    map_names = ("conv1", "conv2")
    middle = "conv1"

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        self.layers.add_module("conv1", separable(channels, width, 1))
        self.layers.add_module("conv2", separable(width, 2 * width, 2))
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        check_maps(maps, self.map_names)
        features, selected_maps = run_layers(self.layers, images, maps)
        embedding = features.mean(dim=(2, 3))
        return Outputs(self.classifier(embedding), embedding, selected_maps)


def build(spec: StudentSpec, *, input_shape: tuple[int, int, int], classes: int) -> SeparableNet:
    """The network of `family = "separable"`, which has a width and neither a depth nor designs."""
    if spec.width is None or spec.depth is not None or spec.design is not None:
        raise ValueError("family separable needs a width, and nothing else")
    return SeparableNet(input_shape[0], spec.width, classes)


register_family("separable", build)
