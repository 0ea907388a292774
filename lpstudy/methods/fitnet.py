"""FitNets: the student's middle layer predicts the teacher's (Romero et al., arXiv 1412.6550)."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy, full_precision
from lpstudy.methods.method import Distillation, Needs, TrainingSamples, layer_of
from lpstudy.methods.soft_targets import Temperature, Weight, kd_loss
from lpstudy.outputs import Network, Outputs

MapName = Annotated[str, Field(min_length=1)]


class Regressor(nn.Module):
    """One convolution without bias from the guided map to the hint; its kernel covers the difference in size.

    Where the guided map has g rows and the hint h, the kernel has g - h + 1, so that g - kernel + 1 = h; the
    columns likewise. From FitNet 1 to the paper's teacher, (32, 8, 8) to (192, 7, 7), it has
    2 * 2 * 32 * 192 = 24.6 K parameters.

    Args:
        guided: Shape (channels, height, width) of the student's map.
        hint: Shape (channels, height, width) of the teacher's map.
        device: The device of the weights.

    Source: Romero et al., arXiv 1412.6550, section 2.2.
    """

    def __init__(
        self, guided: tuple[int, int, int], hint: tuple[int, int, int], *, device: torch.device | None = None
    ) -> None:
        super().__init__()
        # The paper has no hint larger than the guided map: `hint_loss` brings such a hint down to its size.
        kernel = (max(guided[1] - hint[1], 0) + 1, max(guided[2] - hint[2], 0) + 1)
        self.convolution = nn.Conv2d(guided[0], hint[0], kernel, bias=False, device=device)

    def forward(self, guided: Tensor) -> Tensor:
        """The predicted hint, shape (m, hint channels, height, width), of maps of shape (m, ...)."""
        predicted: Tensor = self.convolution(guided)
        return predicted


def hint_loss(predicted: Tensor, hint: Tensor) -> Tensor:
    """1/2 * mean of (predicted - hint)^2 over samples, channels and places.

    The paper sums over the units of a map; the mean makes the weight independent of the map's size. A hint
    with more rows or columns than the prediction is averaged down to as many.

    Args:
        predicted: Shape (m, channels, height, width). Receives the gradient.
        hint: Shape (m, channels, height', width'); height' and width' are not smaller.

    Source: Romero et al., arXiv 1412.6550, equation 3.
    """
    target = full_precision(hint.detach())
    if target.shape[2:] != predicted.shape[2:]:
        target = functional.adaptive_avg_pool2d(target, (predicted.shape[2], predicted.shape[3]))
    return 0.5 * functional.mse_loss(full_precision(predicted), target)


class FitNet(Distillation):
    """The hint first, then CE + KD (`two_stage`), or CE + KD + hint_weight * hint from the start (`joint`).

    In the first of two stages only the regressor and the student's layers up to the guided one get a
    gradient; that of the others is None.
    """

    method: Literal["fitnet"] = "fitnet"
    mode: Literal["two_stage", "joint"] = "two_stage"
    """Hint first and then soft targets, as in the paper, or all terms from the start."""
    hint_weight: Annotated[float, Field(gt=0, le=1e5)] = 1.0
    """Factor of the hint loss: 200 in the published tables, from the start; search 0.1 to 1e3."""
    hint_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Share of the training spent in stage 1; of no effect in `joint`."""
    kd_weight: Weight = 4 / 9
    """Factor of the soft-target term at its start. The paper's 4 at T = 3 leaves out T^2, which is 9."""
    kd_end_fraction: Annotated[float, Field(ge=0, le=1)] = 1 / 4
    """Share of kd_weight at the end of the linear decay: a quarter in the paper, from 4 to 1."""
    temperature: Temperature = 3.0
    """Divides the logits of both networks in the soft-target term."""
    hint: MapName | None = None
    """The teacher's map; its middle one where none is named."""
    guided: MapName | None = None
    """The student's map; its middle one where none is named."""

    @override
    def with_default_layers(self, student: Network, teacher: Network) -> Self:
        return self.model_copy(
            update={"hint": self.hint or teacher.middle, "guided": self.guided or student.middle}
        )

    @override
    def teacher_needs(self) -> Needs:
        return Needs(logits=True, maps=(self.hint,) if self.hint else ())

    @override
    def student_maps(self) -> tuple[str, ...]:
        return (self.guided,) if self.guided else ()

    @override
    def auxiliary(self, student: Outputs, teacher: Outputs, samples: TrainingSamples) -> nn.Module:
        guided, hint = layer_of(student, self.guided), layer_of(teacher, self.hint)
        return Regressor(_image_shape(guided), _image_shape(hint), device=guided.device)

    def in_hint_stage(self, progress: float) -> bool:
        """Whether the hint alone is trained at this share of the training."""
        return self.mode == "two_stage" and progress < self.hint_fraction

    def kd_weight_at(self, progress: float) -> float:
        """The soft-target term's weight at this share of the training, linear between its two ends."""
        start = self.hint_fraction if self.mode == "two_stage" else 0.0
        share = max(progress - start, 0.0) / (1 - start)
        return self.kd_weight * (1 - share * (1 - self.kd_end_fraction))

    @override
    def weights(self, progress: float) -> dict[str, float]:
        if self.in_hint_stage(progress):
            return {"hint": self.hint_weight}
        weights = {"kd": self.kd_weight_at(progress)}
        return weights if self.mode == "two_stage" else {**weights, "hint": self.hint_weight}

    @override
    def needs_of(self, needs: Needs, weights: Mapping[str, float]) -> Needs:
        return Needs(logits="kd" in weights, maps=needs.maps if "hint" in weights else ())

    @override
    def loss(self, step: Step) -> Loss:
        if "kd" not in step.weights:
            hint = self._hint(step)
            return Loss(step.weights["hint"] * hint, {"hint": hint.detach()})
        soft = kd_loss(step.student.logits, step.teacher.logits, temperature=self.temperature)
        loss = cross_entropy(step).plus("kd", soft, weight=step.weights["kd"])
        return (
            loss.plus("hint", self._hint(step), weight=step.weights["hint"])
            if "hint" in step.weights
            else loss
        )

    def _hint(self, step: Step) -> Tensor:
        predicted = step.auxiliary(layer_of(step.student, self.guided))
        return hint_loss(predicted, layer_of(step.teacher, self.hint))


def _image_shape(maps: Tensor) -> tuple[int, int, int]:
    if maps.dim() != 4:
        raise ValueError(
            f"fitnet needs maps of shape (m, channels, height, width) but got {tuple(maps.shape)}"
        )
    return maps.shape[1], maps.shape[2], maps.shape[3]
