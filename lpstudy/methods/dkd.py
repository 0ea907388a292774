"""Decoupled knowledge distillation (Zhao et al., arXiv 2203.08679)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy, full_precision
from lpstudy.methods.soft_targets import LogitMethod, Temperature, divergence, standardized


def dkd_terms(
    student: Tensor, teacher: Tensor, targets: Tensor, *, temperature: float
) -> tuple[Tensor, Tensor]:
    """T^2 * TCKD and T^2 * NCKD, each the mean over the batch, in nats.

    TCKD = KL(b_t || b_s), b = (p_target, 1 - p_target); NCKD = KL(q_t || q_s), q = the probabilities of the
    other classes, renormalised. KD = TCKD + (1 - p_target of the teacher) * NCKD.

    Args:
        student: Logits, shape (m, classes). The only input that receives a gradient.
        teacher: Logits, shape (m, classes).
        targets: int64, shape (m,), in [0, classes).
        temperature: T, above 0.

    Source: Zhao et al., arXiv 2203.08679, equations 5 to 7; the factor T^2 is that of the authors' code.
    """
    binary_student, others_student = _decoupled(student / temperature, targets)
    binary_teacher, others_teacher = _decoupled(teacher.detach() / temperature, targets)
    target_term = divergence(binary_student, binary_teacher)
    return temperature**2 * target_term, temperature**2 * divergence(others_student, others_teacher)


def _decoupled(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of (p_target, 1 - p_target), shape (m, 2), and of the others' shares, shape (m, classes)."""
    is_target = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, targets[:, None], True)
    # The target's share of the others is 0, with a logarithm that is finite: 0 * -inf would be no number.
    others = logits.masked_fill(is_target, torch.finfo(logits.dtype).min / 4)
    target = logits.gather(1, targets[:, None])
    rest = torch.logsumexp(others, dim=1, keepdim=True)
    binary = functional.log_softmax(torch.cat((target, rest), dim=1), dim=1)
    return binary, functional.log_softmax(others, dim=1)


class DKD(LogitMethod):
    """CE + T^2 * (alpha * TCKD + beta * NCKD): the target's part of KD and that of the other classes.

    An image without a label has the teacher's most likely class as its target.
    """

    method: Literal["dkd"] = "dkd"
    alpha: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Factor of the target's part: 1 in the paper; search 0.1 to 10."""
    beta: Annotated[float, Field(ge=0, le=1000)] = 2.0
    """Factor of the other classes' part: 2 to 8 in the paper, by pair of networks; search 0.25 to 16."""
    temperature: Temperature = 4.0
    """Divides the logits of both networks: 4 in the paper; search 1 to 8."""
    standardize: bool = False
    """Whether each image's logits are first brought to mean 0 and standard deviation 1."""

    @override
    def weights(self, progress: float) -> dict[str, float]:
        return {"tckd": self.alpha, "nckd": self.beta}

    @override
    def loss(self, step: Step) -> Loss:
        student, teacher = full_precision(step.student.logits), full_precision(step.teacher.logits)
        targets = torch.where(step.labels >= 0, step.labels, teacher.argmax(dim=1))
        if self.standardize:
            student, teacher = standardized(student), standardized(teacher)
        target_term, others_term = dkd_terms(student, teacher, targets, temperature=self.temperature)
        loss = cross_entropy(step).plus("tckd", target_term, weight=step.weights["tckd"])
        return loss.plus("nckd", others_term, weight=step.weights["nckd"])
