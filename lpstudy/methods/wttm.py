"""Weighted transformed teacher matching (Zheng and Yang, arXiv 2402.11148)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy, full_precision
from lpstudy.methods.soft_targets import LogitMethod


def wttm_loss(student: Tensor, teacher: Tensor, *, gamma: float) -> Tensor:
    """Mean over the batch of u * KL(p_t^gamma / u || p_s), u = sum over classes of p_t^gamma, in nats.

    The student has temperature 1. The weight u grows with the teacher's entropy, from 1 to classes^(1-gamma).

    Args:
        student: Logits, shape (m, classes). The only input that receives a gradient.
        teacher: Logits, shape (m, classes).
        gamma: Exponent of the teacher's probabilities, 1 / T of a temperature T.

    Source: Zheng and Yang, arXiv 2402.11148, section 4; alike in the authors' code.
    """
    powers = gamma * functional.log_softmax(full_precision(teacher.detach()), dim=1)
    log_norms = torch.logsumexp(powers, dim=1, keepdim=True)
    log_student = functional.log_softmax(full_precision(student), dim=1)
    divergences = functional.kl_div(log_student, powers - log_norms, reduction="none", log_target=True)
    return (log_norms.exp() * divergences).sum() / student.shape[0]


class WTTM(LogitMethod):
    """CE + weight * sum of powers of the teacher's probabilities * KL(these, normalised || student)."""

    method: Literal["wttm"] = "wttm"
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Exponent of the teacher's probabilities: 0.1 or 0.2 in the authors' examples; search 0.05 to 1."""
    weight: Annotated[float, Field(ge=0, le=1e4)] = 1.0
    """Factor of the WTTM term: 4 in the authors' example, 45 in theirs without u; search 0.1 to 100."""

    @override
    def weights(self, progress: float) -> dict[str, float]:
        return {"wttm": self.weight}

    @override
    def loss(self, step: Step) -> Loss:
        term = wttm_loss(step.student.logits, step.teacher.logits, gamma=self.gamma)
        return cross_entropy(step).plus("wttm", term, weight=step.weights["wttm"])
