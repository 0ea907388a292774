"""Residual networks for small images (He et al., arXiv 1512.03385)."""

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from lpstudy.students.layers import conv_norm, conv_norm_relu, convolution, initialise_convolutions
from lpstudy.students.pooled_net import PooledNet, check_side

FILTERS = (16, 32, 64)
"""Channels of the three groups at width 1."""
STEM = 8
"""Channels of the stem per unit of width, and at least FILTERS[0]: 16 at width 1 and 2, 32 at width 4."""
BLOCKS_50 = (3, 4, 6, 3)
FILTERS_50 = (64, 128, 256, 512)
"""Blocks and inner channels of the four groups of a ResNet-50; their outputs have EXPANSION as many."""
EXPANSION = 4


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)), where the shortcut is bn(conv 1x1) or the identity."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, outputs, 3, stride=stride)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs, 3)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (m, inputs, h, w) to (m, outputs, h / stride, w / stride)."""
        hidden = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        residual: Tensor = self.norm2(self.conv2(hidden))
        return functional.relu(residual + self.shortcut(x), inplace=True)


class Bottleneck(nn.Module):
    """The block of three convolutions, 1x1, 3x3 and 1x1; the first two have a quarter of the channels."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = outputs // EXPANSION
        self.conv1 = convolution(inputs, inner, 1)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = convolution(inner, inner, 3, stride=stride)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = convolution(inner, outputs, 1)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (m, inputs, h, w) to (m, outputs, h / stride, w / stride)."""
        hidden = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        hidden = functional.relu(self.norm2(self.conv2(hidden)), inplace=True)
        residual: Tensor = self.norm3(self.conv3(hidden))
        return functional.relu(residual + self.shortcut(x), inplace=True)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The identity where a block keeps the shape, else a 1x1 convolution with batch normalisation."""
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return conv_norm(convolution(inputs, outputs, 1, stride=stride))


class ResNet(PooledNet):
    """Residual groups after a stem of one 3x3 convolution with stride 1; each later group halves the side.

    The embedding has the channels of the last group. A map is the output of a group, after its ReLU.

    Args:
        channels: Channels of the images.
        stem: Channels of the stem.
        groups: Blocks and output channels of each group.
        block: The class of the blocks.
        classes: Number of logits.

    Source: https://github.com/HobbitLong/RepDistiller, models/resnet.py and resnetv2.py, for what the paper
    leaves open: projections as shortcuts, and the initialisation.
    """

    def __init__(
        self,
        channels: int,
        stem: int,
        groups: list[tuple[int, int]],
        *,
        block: type[BasicBlock | Bottleneck],
        classes: int,
    ) -> None:
        layers = OrderedDict[str, nn.Module](stem=conv_norm_relu(convolution(channels, stem, 3)))
        widths = [stem, *(outputs for _, outputs in groups)]
        for number, ((blocks, _), (inputs, outputs)) in enumerate(
            zip(groups, pairwise(widths), strict=True), start=1
        ):
            first = block(inputs, outputs, stride=1 if number == 1 else 2)
            rest = (block(outputs, outputs, stride=1) for _ in range(blocks - 1))
            layers[f"group{number}"] = nn.Sequential(first, *rest)
        super().__init__(
            nn.Sequential(layers),
            features=widths[-1],
            classes=classes,
            map_names=tuple(layers)[1:],
            middle="group2",
        )
        initialise_convolutions(self)


def cifar_resnet(*, depth: int, width: int, input_shape: tuple[int, int, int], classes: int) -> ResNet:
    """A ResNet of 6n + 2 layers: three groups of n basic blocks with 16, 32 and 64 times `width` channels.

    Width 1 is the network of section 4.2 of the paper; width 4 with its stem of 32 channels is the form x4 of
    the distillation literature (ResNet8x4, ResNet32x4).

    Args:
        depth: Convolutional and linear layers, 6n + 2.
        width: Factor of the groups' channels; the stem has 8 x width, and at least 16.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.

    Raises:
        ValueError: The images are smaller than 4x4 pixels.
    """
    check_side("resnet", input_shape, 4)
    groups = [((depth - 2) // 6, filters * width) for filters in FILTERS]
    stem = max(FILTERS[0], STEM * width)
    return ResNet(input_shape[0], stem, groups, block=BasicBlock, classes=classes)


def resnet50_small(*, input_shape: tuple[int, int, int], classes: int) -> ResNet:
    """The ResNet-50 of the paper's table 1 with a 3x3 stem of stride 1 and no pool, for small images.

    Raises:
        ValueError: The images are smaller than 8x8 pixels.
    """
    check_side("resnet50_small", input_shape, 8)
    groups = [(blocks, EXPANSION * filters) for blocks, filters in zip(BLOCKS_50, FILTERS_50, strict=True)]
    return ResNet(input_shape[0], 64, groups, block=Bottleneck, classes=classes)
