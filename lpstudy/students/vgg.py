"""VGG networks with batch normalisation for small images (Simonyan and Zisserman, arXiv 1409.1556)."""

from collections import OrderedDict

from torch import nn

from lpstudy.students.layers import initialise_classifier, initialise_convolutions
from lpstudy.students.pooled_net import PooledNet, check_side

GROUPS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Convolutions of the five groups, by depth; the literature calls the network of five convolutions VGG8."""
FACTORS = (1, 2, 4, 8, 8)
"""Channels of the groups in units of the first one's."""
LARGE_SIDE = 64
"""Smallest side in pixels of images for which the last group, too, starts with a pool."""
PUBLISHED_WIDTH = 64


class VGG(PooledNet):
    """Five groups of 3x3 convolutions with batch normalisation and ReLU; later groups start with a max pool.

    The last group starts with one only where the images have 64 pixels or more. The embedding is the mean
    over positions of the last group: 8 x width features. A map is the output of a group, after its ReLU.

    Args:
        depth: 8, 11, 13, 16 or 19.
        width: Channels of the first group, 64 in the paper; the others have 2, 4, 8 and 8 times as many.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.

    Raises:
        ValueError: The images are smaller than 8x8 pixels.

    Source: configurations A, B, D and E of the paper's table 1; one linear layer, VGG8 and the initialisation
    as in https://github.com/HobbitLong/RepDistiller, models/vgg.py.
    """

    def __init__(self, *, depth: int, width: int, input_shape: tuple[int, int, int], classes: int) -> None:
        check_side("vgg", input_shape, 8)
        pools = [False, True, True, True, min(input_shape[1:]) >= LARGE_SIDE]
        layers = OrderedDict[str, nn.Module]()
        inputs = input_shape[0]
        for number, (convs, factor) in enumerate(zip(GROUPS[depth], FACTORS, strict=True), start=1):
            outputs = width * factor
            parts = OrderedDict[str, nn.Module]()
            if pools[number - 1]:
                parts["pool"] = nn.MaxPool2d(2)
            for layer in range(1, convs + 1):
                parts[f"conv{layer}"] = nn.Conv2d(inputs, outputs, 3, padding=1)
                parts[f"norm{layer}"] = nn.BatchNorm2d(outputs)
                parts[f"relu{layer}"] = nn.ReLU(inplace=True)
                inputs = outputs
            layers[f"group{number}"] = nn.Sequential(parts)
        super().__init__(
            nn.Sequential(layers), features=inputs, classes=classes, map_names=tuple(layers), middle="group3"
        )
        initialise_convolutions(self)
        initialise_classifier(self.classifier)
