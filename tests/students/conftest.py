"""Weights as torchvision publishes them, and a place for a file of them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def published() -> dict[str, Tensor]:
    """A torchvision model's own state, of 5 classes."""
    from torchvision import models

    with torch.random.fork_rng():
        torch.manual_seed(0)
        state: dict[str, Tensor] = models.resnet18(num_classes=5).state_dict()
    return state


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"
