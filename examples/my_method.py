"""Attention transfer with absolute differences: the student's attention maps follow the teacher's.

Source: Zagoruyko and Komodakis, "Paying More Attention to Attention", arXiv 1612.03928, equation 2, p = 1.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch.nn import functional

from lpstudy.distill import Distillation, Loss, Needs, Step, cross_entropy, reduced
from lpstudy.distill.reductions import attention

Layers = Annotated[tuple[str, ...], Field(min_length=1)]


class AttentionL1(Distillation):
    """CE + weight * mean absolute difference of attention maps, summed over pairs of layers of one size."""

    method: Literal["attention_l1"] = "attention_l1"
    weight: Annotated[float, Field(ge=0, le=1e6)] = 20.0
    """Factor of the attention term."""
    layers: Layers = ("conv1", "conv2")
    """The student's maps."""
    teacher_layers: Layers = ("conv1", "conv2")
    """The teacher's maps, each for the student's map in the same place."""

    def check(self, *, batch_size: int) -> None:
        if len(self.layers) != len(self.teacher_layers):
            raise ValueError("layers: must be as many as teacher_layers")

    def teacher_needs(self) -> Needs:
        return Needs(maps=tuple(reduced(name, "attention") for name in self.teacher_layers))

    def student_maps(self) -> tuple[str, ...]:
        return self.layers

    def weights(self, progress: float) -> dict[str, float]:
        return {"attention_l1": self.weight}

    def loss(self, step: Step) -> Loss:
        hints = [step.teacher.maps[reduced(name, "attention")] for name in self.teacher_layers]
        maps = [attention(step.student.maps[name]) for name in self.layers]
        terms = [functional.l1_loss(mine, hint) for mine, hint in zip(maps, hints, strict=True)]
        term = torch.stack(terms).sum()
        return cross_entropy(step).plus("attention_l1", term, weight=step.weights["attention_l1"])
