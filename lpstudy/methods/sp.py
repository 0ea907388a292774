"""Similarity preserving distillation (Tung and Mori, arXiv 1907.09682)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy
from lpstudy.methods.map_pairs import MapMethod
from lpstudy.methods.method import Needs
from lpstudy.methods.relations import gram, lengths, rows


def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1/m^2 * |G_s - G_t|^2, G = F F^T with each row divided by its length.

    Args:
        student: Maps as vectors, shape (m, p). The only input that receives a gradient.
        teacher: Shape (m, q); q may differ from p.

    Source: Tung and Mori, arXiv 1907.09682, equations 1 to 4.
    """
    return functional.mse_loss(_similarities(student), _similarities(teacher.detach()))


def _similarities(features: Tensor) -> Tensor:
    similarities = gram(features)
    return similarities / lengths(similarities, dim=1)


class SP(MapMethod):
    """CE + weight * mean squared difference of the two networks' similarities between samples.

    Several pairs of maps are summed. The bank keeps whole maps of the teacher where they fit.
    """

    method: Literal["sp"] = "sp"
    weight: Annotated[float, Field(ge=0, le=1e6)] = 100.0
    """Factor of the SP term; 3,000 in the published tables, too much for small networks; search 10 to 1e4."""

    @override
    def feature_needs(self) -> Needs:
        return Needs(maps=self.teacher_layers or ())

    @override
    def feature_weights(self, progress: float) -> dict[str, float]:
        return {"sp": self.weight}

    @override
    def feature_loss(self, step: Step) -> Loss:
        terms = [
            sp_loss(rows(step, step.student.maps[mine]), rows(step, step.teacher.maps[theirs]))
            for mine, theirs in self.pairs()
        ]
        return cross_entropy(step).plus("sp", torch.stack(terms).sum(), weight=step.weights["sp"])
