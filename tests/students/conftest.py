"""Weights as torchvision publishes them, and a path for their file."""

from pathlib import Path

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def published() -> dict[str, Tensor]:
    """The state of a torchvision model with 5 classes."""
    from torchvision import models

    with torch.random.fork_rng():
        torch.manual_seed(0)
        state: dict[str, Tensor] = models.resnet18(num_classes=5).state_dict()
    return state


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"
