"""Two small networks and their outputs, for everything that is said about methods."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lpstudy.methods import StepContext
from lpstudy.methods.method import Distillation
from lpstudy.testing import SmallNetwork
from lpstudy.testing.method_case import CLASSES


@pytest.fixture
def student() -> SmallNetwork:
    """Its conv2 gives maps of shape (4, 6, 6)."""
    return SmallNetwork(4, 6, kernel=3, seed=1)


@pytest.fixture
def teacher() -> SmallNetwork:
    """Its conv2 gives maps of shape (7, 5, 5)."""
    return SmallNetwork(7, 11, kernel=4, seed=2)


@pytest.fixture
def images() -> Callable[[int], Tensor]:
    return lambda samples: torch.randn(samples, 3, 8, 8, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def labels() -> Callable[[int], Tensor]:
    return lambda samples: torch.arange(samples) % CLASSES


@pytest.fixture
def step_at() -> Callable[[Distillation, float], StepContext]:
    return lambda method, progress: StepContext(method.weights(progress), lambda rows: rows, CLASSES)
