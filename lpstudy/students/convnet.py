"""Plain convolutional students for small images: 3x3 convolution, batch normalisation, ReLU."""

from collections import OrderedDict

from torch import nn

from lpstudy.students.pooled_net import PooledNet

STAGES = 3
"""Resolutions of a net of three or more layers, as in the CIFAR nets of the literature."""


class ConvNet(PooledNet):
    """`depth` convolutions in up to three stages; each later stage has half the side and twice the channels.

    The first convolution of a later stage has stride 2. The embedding is the average over positions of the
    last layer's activations, after its ReLU: 4 x width features where the depth is 3 or more. A map is a
    layer's activations after its ReLU.

    Args:
        depth: Convolutional layers, spread evenly over the stages.
        width: Channels of the first stage.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.

    Raises:
        ValueError: The images are too small to be halved at every later stage.
    """

    def __init__(self, *, depth: int, width: int, input_shape: tuple[int, int, int], classes: int) -> None:
        stages = min(STAGES, depth)
        channels, rows, columns = input_shape
        smallest_side = 2 ** (stages - 1)
        if min(rows, columns) < smallest_side:
            raise ValueError(
                f"a convnet of depth {depth} needs images of at least {smallest_side}x{smallest_side} pixels"
                f" but got {rows}x{columns}"
            )
        stage_of = [layer * stages // depth for layer in range(depth)]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for layer, stage in enumerate(stage_of):
            starts_stage = layer > 0 and stage != stage_of[layer - 1]
            outputs = width * 2**stage
            layers[f"conv{layer + 1}"] = nn.Sequential(
                nn.Conv2d(channels, outputs, 3, stride=2 if starts_stage else 1, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            )
            channels = outputs
        middle = len(stage_of) - stage_of[::-1].index((stages - 1) // 2)
        super().__init__(
            nn.Sequential(layers),
            features=channels,
            classes=classes,
            map_names=tuple(layers),
            middle=f"conv{middle}",
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
