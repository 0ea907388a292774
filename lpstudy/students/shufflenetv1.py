"""ShuffleNet for small images (Zhang et al., arXiv 1707.01083)."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from lpstudy.students.layers import conv_norm, conv_norm_relu, convolution, shuffle
from lpstudy.students.pooled_net import PooledNet, check_side

CHANNELS = (240, 480, 960)
"""Output channels of the groups of units at width 100, for three groups of channels."""
UNITS = (4, 8, 4)
STEM = 24
CHANNEL_GROUPS = 3
"""g of the paper, the groups of its 1x1 convolutions."""
WIDTH_STEP, WIDEST = 25, 400
"""Widths in percent are multiples of this one: channels then divide by four and by three."""


class Unit(nn.Module):
    """relu(x + f(x)), or with stride 2 relu of f(x) beside the averaged x; f is 1x1, shuffle, depthwise, 1x1.

    Source: figure 2 of the paper; a ReLU follows the depthwise convolution, as in RepDistiller's code.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        residual = outputs - inputs if stride == 2 else outputs
        inner = residual // 4
        # The paper does not group the first unit's 1x1 convolution: its input has few channels.
        self._groups = 1 if inputs == STEM else CHANNEL_GROUPS
        self.conv1 = conv_norm_relu(convolution(inputs, inner, 1, groups=self._groups))
        self.conv2 = conv_norm_relu(convolution(inner, inner, 3, stride=stride, groups=inner))
        self.conv3 = conv_norm(convolution(inner, residual, 1, groups=CHANNEL_GROUPS))
        self._pool = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """Shape (m, inputs, h, w) to (m, outputs, h / stride, w / stride)."""
        residual: Tensor = self.conv3(self.conv2(shuffle(self.conv1(x), self._groups)))
        if self._pool is None:
            return functional.relu(residual + x, inplace=True)
        return functional.relu(torch.cat((residual, self._pool(x)), dim=1), inplace=True)


class ShuffleNetV1(PooledNet):
    """ShuffleNet with three groups of channels, whose stem is a 1x1 convolution of stride 1.

    The embedding is the mean over positions of the last group of units. A map is the output of a group of
    units, after its ReLU; each group halves the side.

    Args:
        width: Channels in percent of the paper's, a multiple of 25.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.

    Raises:
        ValueError: The images are smaller than 8x8 pixels.

    Source: table 1 of the paper, g = 3; the stem and the initialisation (torch's) as in
    https://github.com/HobbitLong/RepDistiller, models/ShuffleNetv1.py.
    """

    def __init__(self, *, width: int, input_shape: tuple[int, int, int], classes: int) -> None:
        check_side("shufflenetv1", input_shape, 8)
        layers = OrderedDict[str, nn.Module](stem=conv_norm_relu(convolution(input_shape[0], STEM, 1)))
        inputs = STEM
        for number, (channels, units) in enumerate(zip(CHANNELS, UNITS, strict=True), start=1):
            outputs = channels * width // 100
            rest = (Unit(outputs, outputs, stride=1) for _ in range(units - 1))
            layers[f"group{number}"] = nn.Sequential(Unit(inputs, outputs, stride=2), *rest)
            inputs = outputs
        super().__init__(
            nn.Sequential(layers),
            features=inputs,
            classes=classes,
            map_names=tuple(layers)[1:],
            middle="group2",
        )
