"""Networks whose embedding is the mean of their last layer's output over positions."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lpstudy.outputs import Network, Outputs
from lpstudy.students.layers import check_maps, run_layers


class PooledNet(Network):
    """Named layers in turn, the mean over positions, which is the embedding, and a linear classifier.

    Args:
        layers: The layers; the last one's output has shape (m, features, h, w).
        features: Channels of that output.
        classes: Number of logits.
        map_names: The layers whose outputs are maps, from the input to the classifier.
        middle: The default hint and guided layer.
    """

    def __init__(
        self, layers: nn.Sequential, *, features: int, classes: int, map_names: tuple[str, ...], middle: str
    ) -> None:
        super().__init__()
        self.layers = layers
        self.classifier = nn.Linear(features, classes)
        self.map_names = map_names
        self.middle = middle

    @property
    def pooled(self) -> str:
        """The last layer, which need not be among `map_names`."""
        return [name for name, _ in self.layers.named_children()][-1]

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        """Outputs for images of shape (m, channels, height, width)."""
        check_maps(maps, self.map_names, self.pooled)
        features, selected_maps = run_layers(self.layers, images, maps)
        embedding = features.mean(dim=(2, 3))
        return Outputs(self.classifier(embedding), embedding, selected_maps)


def check_side(family: str, input_shape: tuple[int, int, int], smallest: int) -> None:
    """Refuse images that are smaller than a family's layers can halve.

    Raises:
        ValueError: A side has fewer than `smallest` pixels.
    """
    _, rows, columns = input_shape
    if min(rows, columns) < smallest:
        size = f"{smallest}x{smallest} pixels but got {rows}x{columns}"
        raise ValueError(f"a {family} needs images of at least {size}")


def averaged_map(make_network: Callable[[], Network], input_shape: tuple[int, int, int]) -> str | None:
    """The first map of a network whose average over positions is its embedding; None where there is none.

    Two random images are run in evaluation mode, where the network's weights are; global random states do not
    change.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
        torch.default_generator.manual_seed(0)
        network = make_network().eval()
        example = next(network.parameters())
        images = torch.randn(2, *input_shape).to(example.device, example.dtype)
        outputs: Outputs = network(images, network.map_names)
    for name, values in outputs.maps.items():
        average = values.mean(dim=(2, 3))
        if average.shape == outputs.embedding.shape and torch.allclose(
            average, outputs.embedding, rtol=1e-4, atol=1e-6
        ):
            return name
    return None
