"""MobileNetV2 for small images (Sandler et al., arXiv 1801.04381)."""

from collections import OrderedDict

from torch import Tensor, nn

from lpstudy.students.layers import (
    conv_norm,
    conv_norm_relu,
    convolution,
    initialise_classifier,
    initialise_convolutions,
)
from lpstudy.students.pooled_net import PooledNet, check_side

GROUPS = (
    ((1, 16, 1, 1), (6, 24, 2, 1)),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)
"""Groups of one resolution; of each stage in them: expansion, channels at width 100, blocks, first stride."""
STEM, HEAD = 32, 1280
"""Channels of the first convolution at width 100, and of the last one at any width up to 100."""
NARROWEST, WIDEST = 10, 400
"""Limits of the width in percent."""


class InvertedResidual(nn.Module):
    """x + project(depthwise(expand(x))), without x where the shape changes; the projection has no ReLU.

    Source: figure 4 of the paper, with ReLU for ReLU6.
    """

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = conv_norm_relu(convolution(inputs, hidden, 1))
        self.depthwise = conv_norm_relu(convolution(hidden, hidden, 3, stride=stride, groups=hidden))
        self.project = conv_norm(convolution(hidden, outputs, 1))
        self._is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Shape (m, inputs, h, w) to (m, outputs, h / stride, w / stride)."""
        output: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + output if self._is_residual else output


class MobileNetV2(PooledNet):
    """Inverted residuals in four groups of one resolution, after a stem of stride 2.

    The embedding is the mean over positions of `head`, a 1x1 convolution with 1280 channels, more at a width
    above 100. The other maps are the outputs of the groups, which have no ReLU.

    Args:
        width: Channels in percent of the paper's; 50 is the network of the distillation tables.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.

    Raises:
        ValueError: The images are smaller than 16x16 pixels.

    Source: table 2 of the paper; strides, initialisation and the absent dropout as in
    https://github.com/HobbitLong/RepDistiller, models/mobilenetv2.py.
    """

    def __init__(self, *, width: int, input_shape: tuple[int, int, int], classes: int) -> None:
        check_side("mobilenetv2", input_shape, 16)
        inputs = STEM * width // 100
        stem = convolution(input_shape[0], inputs, 3, stride=2)
        layers = OrderedDict[str, nn.Module](stem=conv_norm_relu(stem))
        for number, group in enumerate(GROUPS, start=1):
            stages = []
            for expansion, channels, blocks, stride in group:
                outputs = channels * width // 100
                stage = nn.Sequential()
                for block in range(blocks):
                    first_stride = stride if block == 0 else 1
                    stage.append(InvertedResidual(inputs, outputs, expansion=expansion, stride=first_stride))
                    inputs = outputs
                stages.append(stage)
            layers[f"group{number}"] = nn.Sequential(*stages)
        features = HEAD * max(100, width) // 100
        layers["head"] = conv_norm_relu(convolution(inputs, features, 1))
        super().__init__(
            nn.Sequential(layers),
            features=features,
            classes=classes,
            map_names=tuple(layers)[1:],
            middle="group2",
        )
        initialise_convolutions(self)
        initialise_classifier(self.classifier)
