"""FitNets: thin deep maxout networks, their teacher, and the family scaled by depth and width.

Source: Romero et al., arXiv 1412.6550, tables 4, 5 and 7; the teacher is the CIFAR-10 net of Goodfellow et
al., arXiv 1302.4389.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lpstudy.outputs import Network, Outputs
from lpstudy.students.layers import check_maps, run_layers

FITNETS: dict[str, tuple[tuple[int, ...], ...]] = {
    "fitnet1": ((16,) * 3, (32,) * 3, (48, 48, 64)),
    "fitnet2": ((16, 32, 32), (48, 64, 80), (96, 96, 128)),
    "fitnet3": ((32, 48, 64, 64), (80,) * 4, (128,) * 3),
    "fitnet4": ((32, 32, 32, 48, 48), (80,) * 6, (128,) * 6),
}
"""Output channels of the 3x3 convolutions, by group; a pool ends each group."""

DESIGNS = (*FITNETS, "teacher")
"""The values of `StudentSpec.design`."""

GROUPS = 3
PIECES = 2
HIDDEN = 500
"""Maxout units of the fully-connected layer: the embedding."""


def maxout(x: Tensor) -> Tensor:
    """max(x[:, u], x[:, units + u]): the larger of each unit's two linear pieces.

    Args:
        x: Linear pieces, shape (m, 2 * units, ...), piece by piece.

    Returns:
        Shape (m, units, ...). Where pieces tie, the first has the gradient.

    Raises:
        ValueError: The number of channels is odd.

    Source: Goodfellow et al., arXiv 1302.4389, section 3.
    """
    if x.shape[1] % PIECES:
        raise ValueError(f"maxout of {PIECES} pieces needs an even number of channels but got {x.shape[1]}")
    result: Tensor = _Maxout.apply(x)
    return result


class _Maxout(torch.autograd.Function):
    """Saves which piece is larger; `torch.maximum` saves both pieces and compares them again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        first, second = x.chunk(PIECES, dim=1)
        ctx.save_for_backward(first >= second)
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (first_is_larger,) = ctx.saved_tensors
        first_gradient = grads[0] * first_is_larger
        return torch.cat((first_gradient, grads[0] - first_gradient), dim=1)


class MaxoutConv(nn.Module):
    """Convolution, 2-piece maxout, and a max pool where the layer ends a group.

    There is no bias, here and in `MaxoutLinear`: the published counts have none.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, padding: int, pool: nn.MaxPool2d | None = None
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, PIECES * outputs, kernel, padding=padding, bias=False)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Shape (m, inputs, h, w) to (m, outputs, h', w')."""
        x = maxout(self.conv(x))
        return x if self.pool is None else self.pool(x)


class MaxoutLinear(nn.Module):
    """Linear layer and 2-piece maxout."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, PIECES * outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (m, inputs) to (m, outputs)."""
        return maxout(self.linear(x))


class MaxoutNet(Network):
    """Maxout convolutions, a maxout layer of 500 units (the embedding), and the classifier.

    A map is a layer's output after maxout and, where the layer ends a group, after the pool.
    """

    def __init__(self, layers: Sequence[MaxoutConv], *, features: int, middle: int, classes: int) -> None:
        super().__init__()
        self.map_names = tuple(f"conv{number}" for number in range(1, len(layers) + 1))
        self.middle = f"conv{middle}"
        self.layers = nn.Sequential(OrderedDict(zip(self.map_names, layers, strict=True)))
        self.hidden = MaxoutLinear(features, HIDDEN)
        self.classifier = nn.Linear(HIDDEN, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                # E[max(a, b)^2] = E[a^2] for independent centred a, b of one variance, so weights of variance
                # 1 / fan_in keep the second moment through any number of maxout layers.
                nn.init.normal_(module.weight, std=1 / math.sqrt(module.weight[0].numel()))
        # The pools raise the second moment, so the classifier starts small: a loss near that of chance.
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        """Outputs for images of shape (m, channels, height, width)."""
        check_maps(maps, self.map_names)
        features, selected_maps = run_layers(self.layers, images, maps)
        embedding = self.hidden(features.flatten(1))
        return Outputs(self.classifier(embedding), embedding, selected_maps)


def named_design(name: str, *, input_shape: tuple[int, int, int], classes: int) -> MaxoutNet:
    """Build FitNet 1 to 4 or their teacher by name.

    Raises:
        ValueError: The images are too small.
    """
    if name == "teacher":
        return _teacher(input_shape=input_shape, classes=classes)
    return _fitnet(FITNETS[name], input_shape=input_shape, classes=classes)


def scaled_net(*, depth: int, width: int, input_shape: tuple[int, int, int], classes: int) -> MaxoutNet:
    """Build a FitNet by size: `depth` convolutions in groups of width, 2 x width and 3 x width channels.

    The three groups have equally many layers; a remainder goes to the first groups.

    Raises:
        ValueError: The images are too small.
    """
    groups = [
        (width * (group + 1),) * (depth // GROUPS + (group < depth % GROUPS)) for group in range(GROUPS)
    ]
    return _fitnet(groups, input_shape=input_shape, classes=classes)


def _fitnet(
    groups: Sequence[tuple[int, ...]], *, input_shape: tuple[int, int, int], classes: int
) -> MaxoutNet:
    """Build groups of 3x3 convolutions with pools of 2, 2 and the remaining side (8 of a 32-pixel image)."""
    channels, rows, columns = input_shape
    if min(rows, columns) < 4:
        raise ValueError(f"a maxout net needs images of at least 4x4 pixels but got {rows}x{columns}")
    pools = (nn.MaxPool2d(2), nn.MaxPool2d(2), nn.MaxPool2d((rows // 4, columns // 4)))
    layers = []
    for group, pool in zip(groups, pools, strict=True):
        for position, outputs in enumerate(group, start=1):
            ends_group = position == len(group)
            layers.append(
                MaxoutConv(channels, outputs, kernel=3, padding=1, pool=pool if ends_group else None)
            )
            channels = outputs
    middle = len(groups[0]) + len(groups[1])
    return MaxoutNet(layers, features=channels, middle=middle, classes=classes)


_TEACHER_LAYERS = ((96, 8, 4, 4), (192, 8, 3, 4), (192, 5, 3, 2))
"""The teacher's output channels, kernels, paddings and pools; the pools have stride 2 and keep borders."""


def _teacher(*, input_shape: tuple[int, int, int], classes: int) -> MaxoutNet:
    channels, *sides = input_shape
    layers = []
    for outputs, kernel, padding, window in _TEACHER_LAYERS:
        pool = nn.MaxPool2d(window, stride=2, ceil_mode=True)
        layers.append(MaxoutConv(channels, outputs, kernel=kernel, padding=padding, pool=pool))
        sides = [math.ceil((side + 2 * padding - kernel + 1 - window) / 2) + 1 for side in sides]
        if min(sides) < 1:
            raise ValueError(
                f"the maxout teacher got images of {input_shape[1]}x{input_shape[2]} pixels: too small"
            )
        channels = outputs
    return MaxoutNet(layers, features=channels * math.prod(sides), middle=2, classes=classes)
