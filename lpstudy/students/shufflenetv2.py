"""ShuffleNetV2 for small images (Ma et al., arXiv 1807.11164)."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from lpstudy.students.layers import conv_norm, conv_norm_relu, convolution, shuffle
from lpstudy.students.pooled_net import PooledNet, check_side

CHANNELS = {
    50: (48, 96, 192, 1024),
    100: (116, 232, 464, 1024),
    150: (176, 352, 704, 1024),
    200: (244, 488, 976, 2048),
}
"""Output channels of the groups and of the last convolution, by width in percent: the paper's table 5."""
UNITS = (4, 8, 4)
STEM = 24


class Unit(nn.Module):
    """shuffle(half of x, main(the other half)), and with stride 2 shuffle(shortcut(x), main(x)).

    Source: figure 3 (c) and (d) of the paper.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.shortcut: nn.Module | None = None
        if stride == 2:
            self.shortcut = nn.Sequential(
                conv_norm(convolution(inputs, inputs, 3, stride=2, groups=inputs)),
                conv_norm_relu(convolution(inputs, half, 1)),
            )
        self.main = nn.Sequential(
            conv_norm_relu(convolution(inputs if stride == 2 else half, half, 1)),
            conv_norm(convolution(half, half, 3, stride=stride, groups=half)),
            conv_norm_relu(convolution(half, half, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shape (m, inputs, h, w) to (m, outputs, h / stride, w / stride)."""
        if self.shortcut is None:
            first, second = x.chunk(2, dim=1)
        else:
            first, second = self.shortcut(x), x
        return shuffle(torch.cat((first, self.main(second)), dim=1), 2)


class ShuffleNetV2(PooledNet):
    """ShuffleNetV2 whose stem is a 1x1 convolution of stride 1; each of its three groups halves the side.

    The embedding is the mean over positions of `head`, a 1x1 convolution with ReLU. The other maps are the
    outputs of the groups, after their ReLU and shuffle.

    Args:
        width: 50, 100, 150 or 200: the paper's 0.5x to 2x.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.

    Raises:
        ValueError: The images are smaller than 8x8 pixels.

    Source: table 5 of the paper; the stem and the initialisation (torch's) as in
    https://github.com/HobbitLong/RepDistiller, models/ShuffleNetv2.py.
    """

    def __init__(self, *, width: int, input_shape: tuple[int, int, int], classes: int) -> None:
        check_side("shufflenetv2", input_shape, 8)
        *channels, features = CHANNELS[width]
        layers = OrderedDict[str, nn.Module](stem=conv_norm_relu(convolution(input_shape[0], STEM, 1)))
        inputs = STEM
        for number, (outputs, units) in enumerate(zip(channels, UNITS, strict=True), start=1):
            rest = (Unit(outputs, outputs, stride=1) for _ in range(units - 1))
            layers[f"group{number}"] = nn.Sequential(Unit(inputs, outputs, stride=2), *rest)
            inputs = outputs
        layers["head"] = conv_norm_relu(convolution(inputs, features, 1))
        super().__init__(
            nn.Sequential(layers),
            features=features,
            classes=classes,
            map_names=tuple(layers)[1:],
            middle="group2",
        )
