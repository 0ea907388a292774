"""A network, a method and a data set of one's own: my_own.toml names them, `--import` names this file."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn
from torch.utils.data import Dataset

from lpstudy.methods import Distillation, Loss, Needs, Step, cross_entropy


class Small(nn.Module):
    """Two convolutions, the average over places, a linear layer."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(input_shape[0], width, 3, padding=1), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, padding=1), nn.ReLU())
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, images: Tensor) -> Any:
        return self.classifier(self.conv2(self.conv1(images)).mean(dim=(2, 3)))


class LogitsL1(Distillation):
    """CE + weight * mean absolute difference of the logits of student and teacher."""

    method: Literal["logits_l1"] = "logits_l1"
    weight: float = 1.0

    def teacher_needs(self) -> Needs:
        return Needs(logits=True)

    def weights(self, progress: float) -> dict[str, float]:
        return {"logits_l1": self.weight}

    def loss(self, step: Step) -> Loss:
        term = nn.functional.l1_loss(step.student.logits.float(), step.teacher.logits.float())
        return cross_entropy(step).plus("logits_l1", term, weight=step.weights["logits_l1"])


class Rings(Dataset[Any]):
    """Discs and rings, drawn rather than read; an item is an image and the number of its class."""

    classes = ("disc", "ring")

    def __len__(self) -> int:
        return 300

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = np.random.default_rng(index).integers(0, 100, (12, 12), dtype=np.uint8)
        distance = np.hypot(*(np.mgrid[:12, :12] - 5.5))
        image[(distance < 4) & ((distance > 2) | (index % 3 > 0))] += 60
        return image, int(index % 3 == 0)


def read(root: Path) -> Dataset[Any]:
    """The data set; one of files would be read below `root`, the folder that [data] root names."""
    return Rings()
