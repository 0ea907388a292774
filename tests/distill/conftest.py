"""Two small networks and their outputs, for everything that is said about methods."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lpstudy.distill import StepContext
from lpstudy.distill.method import Distillation
from lpstudy.outputs import Network, Outputs

CLASSES = 3


class SmallNetwork(Network):
    """Three convolutions and a linear embedding, without batch normalisation, on 3 x 8 x 8 images."""

    map_names = ("conv1", "conv2", "conv3")
    middle = "conv2"

    def __init__(self, channels: int, features: int, *, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, kernel)
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.embed = nn.Linear(channels, features)
        self.classify = nn.Linear(features, CLASSES)

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        values = images
        given: dict[str, Tensor] = {}
        for name in self.map_names:
            values = torch.relu(self.get_submodule(name)(values))
            given[name] = values
        embedding = torch.tanh(self.embed(values.mean(dim=(2, 3))))
        return Outputs(self.classify(embedding), embedding, {name: given[name] for name in maps})


def seeded(seed: int, channels: int, features: int, kernel: int) -> SmallNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SmallNetwork(channels, features, kernel=kernel)


@pytest.fixture
def student() -> SmallNetwork:
    """Its conv2 gives maps of shape (4, 6, 6)."""
    return seeded(1, 4, 6, 3)


@pytest.fixture
def teacher() -> SmallNetwork:
    """Its conv2 gives maps of shape (7, 5, 5)."""
    return seeded(2, 7, 11, 4)


@pytest.fixture
def images() -> Callable[[int], Tensor]:
    return lambda samples: torch.randn(samples, 3, 8, 8, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def labels() -> Callable[[int], Tensor]:
    return lambda samples: torch.arange(samples) % CLASSES


@pytest.fixture
def step_at() -> Callable[[Distillation, float], StepContext]:
    return lambda method, progress: StepContext(method.weights(progress), lambda rows: rows, CLASSES)
