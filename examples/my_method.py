"""Attention transfer: the student's attention maps follow the teacher's.

Source: Zagoruyko and Komodakis, "Paying More Attention to Attention", arXiv 1612.03928, equation 2.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from lpstudy.distill import Distillation, Loss, Needs, Step, cross_entropy

Layers = Annotated[tuple[str, ...], Field(min_length=1)]


def attention(maps: Tensor) -> Tensor:
    """The mean of the squares over channels, scaled to length 1: (m, channels, h, w) to (m, h * w)."""
    return functional.normalize(maps.float().square().mean(dim=1).flatten(1))


class AT(Distillation):
    """CE + weight * mean squared difference of attention maps, summed over pairs of layers of one size."""

    method: Literal["at"] = "at"
    weight: Annotated[float, Field(ge=0, le=1e6)] = 500.0
    """Factor of the attention term."""
    layers: Layers = ("conv1", "conv2")
    """The student's maps."""
    teacher_layers: Layers = ("conv1", "conv2")
    """The teacher's maps, each for the student's map in the same place."""

    def teacher_needs(self) -> Needs:
        return Needs(maps=self.teacher_layers)

    def student_maps(self) -> tuple[str, ...]:
        return self.layers

    def weights(self, progress: float) -> dict[str, float]:
        return {"at": self.weight}

    def loss(self, step: Step) -> Loss:
        pairs = zip(self.layers, self.teacher_layers, strict=True)
        terms = [
            functional.mse_loss(attention(step.student.maps[mine]), attention(step.teacher.maps[theirs]))
            for mine, theirs in pairs
        ]
        return cross_entropy(step).plus("at", torch.stack(terms).sum(), weight=step.weights["at"])
