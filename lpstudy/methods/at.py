"""Attention transfer (Zagoruyko and Komodakis, arXiv 1612.03928)."""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy, full_precision
from lpstudy.methods.map_pairs import MapMethod
from lpstudy.methods.method import Needs
from lpstudy.methods.reductions import attention, of_length_1, reduced


def at_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over samples and places of (a_s - a_t)^2, a = sum_c F_c^2 scaled to length 1.

    Where the sizes differ, the attention map with more rows or columns is averaged down to as many and
    scaled again. (RepDistiller averages the map before it squares: then the teacher's would have to be kept
    whole.) Maps of one place have the same attention everywhere: they add 0.

    Args:
        student: Maps, shape (m, channels, height, width). Receives the gradient.
        teacher: Attention maps, shape (m, height', width'); `reductions.attention` of the teacher's maps.

    Source: Zagoruyko and Komodakis, arXiv 1612.03928, section 3.1; the mean of squares in place of equation
    2's norm is that of the authors' code, to which the published weight belongs.
    """
    mine, theirs = attention(full_precision(student)), full_precision(teacher.detach())
    size = (min(mine.shape[1], theirs.shape[1]), min(mine.shape[2], theirs.shape[2]))
    return functional.mse_loss(_averaged(mine, size), _averaged(theirs, size))


def _averaged(attention_maps: Tensor, size: tuple[int, int]) -> Tensor:
    if attention_maps.shape[1:] == size:
        return attention_maps
    return of_length_1(functional.adaptive_avg_pool2d(attention_maps, size))


class AT(MapMethod):
    """CE + weight * mean squared difference of attention maps, summed over pairs of layers.

    The bank keeps the teacher's attention maps alone: 1 / channels of the maps.
    """

    method: Literal["at"] = "at"
    default_pairs: ClassVar[int] = 3
    weight: Annotated[float, Field(ge=0, le=1e6)] = 10.0
    """Factor of the term; 1,000 in the published tables, too much for small nets; search 1 to 1e4."""

    @override
    def feature_needs(self) -> Needs:
        return Needs(maps=tuple(reduced(name, "attention") for name in self.teacher_layers or ()))

    @override
    def feature_weights(self, progress: float) -> dict[str, float]:
        return {"at": self.weight}

    @override
    def feature_loss(self, step: Step) -> Loss:
        terms = [
            at_loss(step.student.maps[mine], step.teacher.maps[reduced(theirs, "attention")])
            for mine, theirs in self.pairs()
        ]
        return cross_entropy(step).plus("at", torch.stack(terms).sum(), weight=step.weights["at"])
