"""Modules of one's own that end in a linear layer, for tests of networks."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

SHAPE = (3, 16, 16)
CLASSES = 5


class HeadFirst(nn.Module):
    """The classifier is defined first and another linear layer last; one pool and one ReLU run twice."""

    def __init__(self, bias: bool = True, end: Any = None) -> None:
        super().__init__()
        self.head = nn.Linear(8, CLASSES, bias=bias)
        self.end = end
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.Dropout(0.5), nn.BatchNorm2d(8))
        self.last = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Linear(8, 8)

    def embedding(self, images: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(images)))
        x = self.last(self.pool(self.relu(self.conv2(x)))).flatten(1)
        return x * torch.sigmoid(self.gate(x))

    def forward(self, images: Tensor) -> Any:
        logits = self.head(self.embedding(images))
        return logits if self.end is None else self.end(logits)


def sequential() -> nn.Sequential:
    body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(inplace=True))
    return nn.Sequential(
        body, nn.Conv2d(6, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)
    )


def torchvision_model() -> nn.Module:
    from torchvision import models

    model: nn.Module = models.resnet18(num_classes=CLASSES)
    return model


def timm_model() -> nn.Module:
    timm = pytest.importorskip("timm")
    model: nn.Module = timm.create_model("test_efficientnet", num_classes=CLASSES)
    return model


class Wrapped(nn.Module):
    """All maps are within the one child."""

    def __init__(self) -> None:
        super().__init__()
        self.net = sequential()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits


MODELS = {
    "head first": (HeadFirst, ("conv1", "conv2", "last"), "conv2", None),
    "without bias": (lambda: HeadFirst(bias=False), ("conv1", "conv2", "last"), "conv2", None),
    "Sequential": (sequential, ("0", "1", "2"), "1", "1"),
    "in one child": (Wrapped, ("net.0", "net.1", "net.2"), "net.1", "net.1"),
    "torchvision": (
        torchvision_model,
        ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool"),
        "layer2",
        "layer4",
    ),
    "timm": (timm_model, ("conv_stem", "bn1", "blocks", "conv_head", "bn2"), "blocks", "bn2"),
    "without maps": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 6), nn.ReLU(), nn.Linear(6, CLASSES)),
        (),
        "embedding",
        None,
    ),
}


def module_of(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODELS[name][0]()


def images(count: int = 4) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))
