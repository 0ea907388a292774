"""Soft targets, alone or beside a loss of features (Hinton, Vinyals and Dean, arXiv 1503.02531)."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, full_precision
from lpstudy.methods.method import Distillation, Needs

Weight = Annotated[float, Field(ge=0, le=1000)]
"""Factor of the soft-target term; 0 leaves it out."""
Temperature = Annotated[float, Field(gt=0, le=100)]
"""Divides the logits of both networks; 1 leaves the probabilities as they are."""


def kd_loss(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """T^2 * KL(softmax(teacher / T) || softmax(student / T)), the mean over the batch, in nats.

    The factor T^2 keeps the gradient's size while the temperature changes.

    Args:
        student: Logits, shape (m, classes). The only input that receives a gradient.
        teacher: Logits, shape (m, classes).
        temperature: T, above 0.

    Raises:
        ValueError: The shapes differ.

    Source: Hinton et al., arXiv 1503.02531, section 2.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher logits must have one shape "
            f"but have {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    log_student = functional.log_softmax(full_precision(student) / temperature, dim=1)
    log_teacher = functional.log_softmax(full_precision(teacher.detach()) / temperature, dim=1)
    return temperature**2 * divergence(log_student, log_teacher)


def divergence(log_student: Tensor, log_teacher: Tensor) -> Tensor:
    """KL(teacher || student) of logarithms of probabilities, shape (m, classes): the mean over m, in nats."""
    return functional.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def standardized(logits: Tensor) -> Tensor:
    """(z - mean(z)) / (std(z) + 1e-7) of each sample's logits z, shape (m, classes).

    The divisor of the variance is classes - 1, as in the authors' code. Equal logits give zeros.

    Source: Sun et al., arXiv 2403.01427, section 4.
    """
    values = full_precision(logits)
    centred = values - values.mean(dim=1, keepdim=True)
    variance = centred.square().sum(dim=1, keepdim=True) / max(values.shape[1] - 1, 1)
    return centred / (variance.clamp(min=1e-24).sqrt() + 1e-7)  # a root of 0 has no gradient


class LogitMethod(Distillation, ABC):
    """A method that reads the teacher's logits alone."""

    @override
    def teacher_needs(self) -> Needs:
        return Needs(logits=True)


class FeatureMethod(Distillation, ABC):
    """A method that compares features, to which soft targets may be added: + kd_weight * T^2 * KL."""

    kd_weight: Weight = 0.0
    """Factor of a soft-target term beside the method's own; 0 leaves it out."""
    kd_temperature: Temperature = 4.0
    """Divides the logits of both networks in that term."""

    @abstractmethod
    def feature_needs(self) -> Needs:
        """`teacher_needs` of the method's own terms."""

    @abstractmethod
    def feature_weights(self, progress: float) -> dict[str, float]:
        """`weights` of the method's own terms."""

    @abstractmethod
    def feature_loss(self, step: Step) -> Loss:
        """CE and the method's own terms."""

    @override
    def teacher_needs(self) -> Needs:
        needs = self.feature_needs()
        return replace(needs, logits=True) if self.kd_weight else needs

    @override
    def weights(self, progress: float) -> dict[str, float]:
        return self.feature_weights(progress) | ({"kd": self.kd_weight} if self.kd_weight else {})

    @override
    def loss(self, step: Step) -> Loss:
        loss = self.feature_loss(step)
        if "kd" not in step.weights:
            return loss
        soft = kd_loss(step.student.logits, step.teacher.logits, temperature=self.kd_temperature)
        return loss.plus("kd", soft, weight=step.weights["kd"])
