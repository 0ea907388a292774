"""Plain convolutional students for small images: 3x3 convolution, batch normalisation, ReLU."""

from collections import OrderedDict

from torch import Tensor, nn

from lpstudy.outputs import Network, Outputs
from lpstudy.students.layers import check_maps, run_layers

STAGES = 3
"""Resolutions of a net of three or more layers, as in the CIFAR nets of the literature."""


class ConvNet(Network):
    """`depth` convolutions in up to three stages; each later stage has half the side and twice the channels.

    The first convolution of a later stage has stride 2. The embedding is the average over positions of the
    last layer's activations, after its ReLU: 4 x width features where the depth is 3 or more.

    Args:
        depth: Convolutional layers, spread evenly over the stages.
        width: Channels of the first stage.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.

    Raises:
        ValueError: The images are too small to be halved at every later stage.
    """

    def __init__(self, *, depth: int, width: int, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
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
        self.layers = nn.Sequential(layers)
        self.classifier = nn.Linear(channels, classes)
        self.map_names = tuple(layers)
        middle_stage = (stages - 1) // 2
        self.middle = f"conv{len(stage_of) - stage_of[::-1].index(middle_stage)}"
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        """Outputs; a map is a layer's activations after its ReLU."""
        check_maps(maps, self.map_names)
        features, selected_maps = run_layers(self.layers, images, maps)
        embedding = features.mean(dim=(2, 3))
        return Outputs(self.classifier(embedding), embedding, selected_maps)
