"""Wide residual networks (Zagoruyko & Komodakis, arXiv 1605.07146)."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from lpstudy.outputs import Network, Outputs
from lpstudy.students.layers import check_maps, initialise_convolutions, run_layers

SMALLEST_SIDE = 4
"""Smallest side in pixels: two of the three groups halve it."""

ACTIVATIONS = "activations"
"""The name of the last group's output, normalised and rectified."""


class ResidualBlock(nn.Module):
    """x + conv(relu(bn(conv(a)))), a = relu(bn(x)); where shapes differ, a 1x1 convolution of a for x."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changes_shape = inputs != outputs or stride != 1
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if changes_shape else None

    def forward(self, x: Tensor) -> Tensor:
        """Shape (m, inputs, h, w) to (m, outputs, h / stride, w / stride)."""
        activations = torch.relu(self.norm1(x))
        residual: Tensor = self.conv2(torch.relu(self.norm2(self.conv1(activations))))
        return residual + (x if self.shortcut is None else self.shortcut(activations))


class WideResNet(Network):
    """WRN-depth-width: three groups of (depth - 4) / 6 blocks with 16, 32 and 64 times `width` channels.

    The embedding is the average over positions of the last group, normalised and rectified: 64 x width
    features. A map is the output of a group, before the next normalisation; `activations`, which is not among
    `map_names`, is the last one after it. No dropout.

    Args:
        depth: Convolutional layers, 6n + 4.
        width: Widening factor; 1 is a thin residual net.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.

    Raises:
        ValueError: The images are smaller than 4x4 pixels.
    """

    def __init__(self, *, depth: int, width: int, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, rows, columns = input_shape
        if min(rows, columns) < SMALLEST_SIDE:
            raise ValueError(f"a wrn needs images of at least 4x4 pixels but got {rows}x{columns}")
        blocks = (depth - 4) // 6
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["stem"] = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        inputs = 16
        for group, (outputs, stride) in enumerate(((16, 1), (32, 2), (64, 2)), start=1):
            outputs *= width
            first = ResidualBlock(inputs, outputs, stride)
            layers[f"group{group}"] = nn.Sequential(
                first, *(ResidualBlock(outputs, outputs, 1) for _ in range(blocks - 1))
            )
            inputs = outputs
        self.layers = nn.Sequential(layers)
        self.norm = nn.BatchNorm2d(inputs)
        self.classifier = nn.Linear(inputs, classes)
        self.map_names = ("group1", "group2", "group3")
        self.middle = "group2"
        initialise_convolutions(self)
        nn.init.zeros_(self.classifier.bias)

    @property
    def pooled(self) -> str:
        """The last group's output, normalised and rectified."""
        return ACTIVATIONS

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        """Outputs for images of shape (m, channels, height, width)."""
        check_maps(maps, self.map_names, ACTIVATIONS)
        groups = tuple(name for name in maps if name != ACTIVATIONS)
        features, selected_maps = run_layers(self.layers, images, groups)
        activations = torch.relu(self.norm(features))
        embedding = activations.mean(dim=(2, 3))
        all_maps = selected_maps | {ACTIVATIONS: activations}
        return Outputs(self.classifier(embedding), embedding, {name: all_maps[name] for name in maps})
