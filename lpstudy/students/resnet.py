"""Residual networks for small images (He et al., arXiv 1512.03385, section 4.2)."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from lpstudy.outputs import Network, Outputs
from lpstudy.students.layers import check_maps, convolution, initialise_convolutions, run_layers

SMALLEST_SIDE = 4
"""Smallest side in pixels: two of the three groups halve it."""
FILTERS = (16, 32, 64)
"""Channels of the three groups at width 1."""
STEM = 8
"""Channels of the stem per unit of width, and at least FILTERS[0]: 16 at width 1 and 2, 32 at width 4."""


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)); the shortcut is bn(conv 1x1) where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, outputs, 3, stride=stride)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs, 3)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (m, inputs, h, w) to (m, outputs, h / stride, w / stride)."""
        hidden = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        residual: Tensor = self.norm2(self.conv2(hidden))
        return functional.relu(residual + self.shortcut(x), inplace=True)


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The identity where a block keeps the shape, else a 1x1 convolution with batch normalisation."""
    if inputs == outputs and stride == 1:
        return nn.Identity()
    conv = convolution(inputs, outputs, 1, stride=stride)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(outputs)))


def stem(channels: int, outputs: int) -> nn.Sequential:
    """A 3x3 convolution of stride 1, batch normalisation and ReLU."""
    parts = OrderedDict[str, nn.Module](conv=convolution(channels, outputs, 3))
    parts |= {"norm": nn.BatchNorm2d(outputs), "relu": nn.ReLU(inplace=True)}
    return nn.Sequential(parts)


class ResNet(Network):
    """ResNet of 6n + 2 layers: a stem and three groups of n blocks with 16, 32 and 64 times `width` channels.

    Width 1 is the network of the paper, with projections as shortcuts; width 4 with its stem of 32 channels
    is the form x4 of the distillation literature (ResNet8x4, ResNet32x4). The embedding is the average over
    positions of the last group: 64 x width features. A map is the output of a group, after its ReLU.

    Args:
        depth: Convolutional and linear layers, 6n + 2.
        width: Factor of the groups' channels; the stem has 8 x width, and at least 16.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.

    Raises:
        ValueError: The images are smaller than 4x4 pixels.

    Source: section 4.2 of the paper; projections, widths and initialisation as in
    https://github.com/HobbitLong/RepDistiller, models/resnet.py.
    """

    def __init__(self, *, depth: int, width: int, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, rows, columns = input_shape
        if min(rows, columns) < SMALLEST_SIDE:
            raise ValueError(f"a resnet needs images of at least 4x4 pixels but got {rows}x{columns}")
        inputs = max(FILTERS[0], STEM * width)
        layers = OrderedDict[str, nn.Module](stem=stem(channels, inputs))
        for group, filters in enumerate(FILTERS, start=1):
            outputs = filters * width
            first = BasicBlock(inputs, outputs, stride=1 if group == 1 else 2)
            rest = (BasicBlock(outputs, outputs, stride=1) for _ in range((depth - 2) // 6 - 1))
            layers[f"group{group}"] = nn.Sequential(first, *rest)
            inputs = outputs
        self.layers = nn.Sequential(layers)
        self.classifier = nn.Linear(inputs, classes)
        self.map_names = ("group1", "group2", "group3")
        self.middle = "group2"
        initialise_convolutions(self)

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        """Outputs for images of shape (m, channels, height, width)."""
        check_maps(maps, self.map_names)
        features, selected_maps = run_layers(self.layers, images, maps)
        embedding = features.mean(dim=(2, 3))
        return Outputs(self.classifier(embedding), embedding, selected_maps)
