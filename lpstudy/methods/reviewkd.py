"""Knowledge review: the student's fused levels follow the teacher's (Chen et al., arXiv 2104.09044)."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from lpstudy.methods.batch_norm import BatchNorm
from lpstudy.methods.loss import Loss, Step, cross_entropy, full_precision
from lpstudy.methods.method import Needs, TrainingSamples, layer_of
from lpstudy.methods.resolutions import resolutions
from lpstudy.methods.soft_targets import FeatureMethod
from lpstudy.outputs import Network, Outputs

MOST_HIDDEN = 512
"""Most channels that the levels are fused in."""
POOLED_SIDES = (4, 2, 1)
"""Sides of the averaged maps that are compared besides the map itself."""


class Fusion(nn.Module):
    """Attention-based fusion of a level with the deeper ones, in the channels and the size of the teacher's.

    h = bn(conv1x1(F)); where there are deeper levels, h = a_1 * h + a_2 * up(deeper) with attention maps
    (a_1, a_2) = sigmoid(conv1x1([h, up(deeper)])); then, at the teacher's size by the nearest place, the
    output is bn(conv3x3(h)).

    Args:
        inputs: Channels of the student's level.
        hidden: Channels in which levels are fused.
        outputs: Channels of the teacher's level.
        fuses: Whether there are deeper levels.
        device: The device of the weights.

    Source: section 3.4 and figure 4a of the paper; layers as in the authors' code,
    https://github.com/dvlab-research/ReviewKD.
    """

    def __init__(
        self, inputs: int, hidden: int, outputs: int, *, fuses: bool, device: torch.device | None = None
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, hidden, 1, bias=False, device=device)
        self.reduce_norm = BatchNorm(hidden, device=device)
        self.attend = nn.Conv2d(2 * hidden, 2, 1, device=device) if fuses else None
        self.expand = nn.Conv2d(hidden, outputs, 3, padding=1, bias=False, device=device)
        self.expand_norm = BatchNorm(outputs, device=device)
        for convolution in (self.reduce, self.expand):
            nn.init.kaiming_uniform_(convolution.weight, a=1)

    def forward(self, level: Tensor, deeper: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The output, shape (m, outputs, *size), and what the next level fuses, shape (m, hidden, *size)."""
        hidden: Tensor = self.reduce_norm(self.reduce(level))
        if self.attend is not None and deeper is not None:
            deeper = _resized(deeper, (hidden.shape[2], hidden.shape[3]))
            attention = torch.sigmoid(self.attend(torch.cat([hidden, deeper], dim=1)))
            hidden = hidden * attention[:, :1] + deeper * attention[:, 1:]
        hidden = _resized(hidden, size)
        output: Tensor = self.expand_norm(self.expand(hidden))
        return output, hidden


def _resized(values: Tensor, size: tuple[int, int]) -> Tensor:
    return values if tuple(values.shape[2:]) == size else functional.interpolate(values, size, mode="nearest")


def hierarchical_context_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """(MSE + sum_l w_l MSE of the maps averaged to l x l) / (1 + sum_l w_l), for sides l of 4, 2 and 1.

    Only sides l below the map's own count; the weights w_l are 1/2, 1/4 and 1/8 in their order.

    Args:
        student: Shape (m, channels, height, width). Receives the gradient.
        teacher: The same shape.

    Source: section 3.4 and figure 4b of the paper; weights as in the authors' code.
    """
    mine, theirs = full_precision(student), full_precision(teacher.detach())
    total, weight, weights = functional.mse_loss(mine, theirs), 1.0, 1.0
    for side in POOLED_SIDES:
        if side >= min(mine.shape[2:]):
            continue
        weight /= 2
        weights += weight
        pooled, target = (functional.adaptive_avg_pool2d(values, side) for values in (mine, theirs))
        total = total + weight * functional.mse_loss(pooled, target)
    return total / weights


class ReviewKD(FeatureMethod):
    """CE + weight * sum over levels of the hierarchical context loss of fused maps.

    Levels are maps from shallow to deep and the embedding as a map of one place, the deepest. Each of the
    student's is fused with the deeper ones and compared with the teacher's in the same place. Without a list
    they are the last stages of each resolution, of both networks equally many from the deepest on.
    """

    method: Literal["reviewkd"] = "reviewkd"
    weight: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Factor of the term: 0.6 to 8 as published, with term_warmup_epochs = 20; search 0.1 to 10."""
    layers: tuple[str, ...] | None = None
    """The student's maps, from shallow to deep; the last stage of each resolution where none are named."""
    teacher_layers: tuple[str, ...] | None = None
    """The teacher's maps, each for the student's in the same place; likewise."""

    @override
    def with_default_layers(self, student: Network, teacher: Network) -> Self:
        mine = resolutions(student) if self.layers is None else self.layers
        theirs = resolutions(teacher) if self.teacher_layers is None else self.teacher_layers
        count = min(len(mine), len(theirs))
        if any(len(named) != count for named in (self.layers, self.teacher_layers) if named is not None):
            raise ValueError(
                f"layers: must be as many as teacher_layers, but are {len(mine)} and {len(theirs)}"
            )
        deepest = {"layers": mine[len(mine) - count :], "teacher_layers": theirs[len(theirs) - count :]}
        return self.model_copy(update=deepest)

    @override
    def feature_needs(self) -> Needs:
        return Needs(embedding=True, maps=self.teacher_layers or ())

    @override
    def student_maps(self) -> tuple[str, ...]:
        return self.layers or ()

    @override
    def auxiliary(self, student: Outputs, teacher: Outputs, samples: TrainingSamples) -> nn.Module:
        mine, theirs = _levels(student, self.layers), _levels(teacher, self.teacher_layers)
        hidden = min(MOST_HIDDEN, student.embedding.shape[1])
        return nn.ModuleList(
            Fusion(
                level.shape[1],
                hidden,
                target.shape[1],
                fuses=number < len(mine) - 1,
                device=student.embedding.device,
            )
            for number, (level, target) in enumerate(zip(mine, theirs, strict=True))
        )

    @override
    def feature_weights(self, progress: float) -> dict[str, float]:
        return {"review": self.weight}

    @override
    def feature_loss(self, step: Step) -> Loss:
        mine, theirs = _levels(step.student, self.layers), _levels(step.teacher, self.teacher_layers)
        fusions = step.auxiliary.children()
        terms: list[Tensor] = []
        hidden: Tensor | None = None
        for level, target, fusion in reversed(list(zip(mine, theirs, fusions, strict=True))):
            output, hidden = fusion(level, hidden, (target.shape[2], target.shape[3]))
            terms.append(hierarchical_context_loss(output, target))
        return cross_entropy(step).plus("review", torch.stack(terms).sum(), weight=step.weights["review"])


def _levels(outputs: Outputs, layers: Sequence[str] | None) -> list[Tensor]:
    """The maps of the layers, and the embedding as a map of one place."""
    if layers is None:
        raise ValueError("the layers have no names: call method.resolved(student, teacher) first")
    return [*(layer_of(outputs, layer) for layer in layers), outputs.embedding[:, :, None, None]]
