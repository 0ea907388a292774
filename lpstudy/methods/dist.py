"""DIST: correlations in place of divergences (Huang et al., arXiv 2205.10536)."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy
from lpstudy.methods.relations import lengths, rows
from lpstudy.methods.soft_targets import LogitMethod, Temperature

EPS = 1e-8
"""Added to the product of the lengths, as in the authors' code."""


def correlation_distance(student: Tensor, teacher: Tensor, *, dim: int) -> Tensor:
    """1 - mean of Pearson's correlations along a dimension of two matrices of one shape.

    A row or column without variance has correlation 0 and no gradient.
    """
    one, other = student - student.mean(dim=dim, keepdim=True), teacher - teacher.mean(dim=dim, keepdim=True)
    products = (one * other).sum(dim=dim, keepdim=True)
    return 1 - (products / (lengths(one, dim=dim) * lengths(other, dim=dim) + EPS)).mean()


def dist_terms(student: Tensor, teacher: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
    """T^2 * inter and T^2 * intra: distances of probabilities, of each sample and of each class.

    Args:
        student: Logits, shape (m, classes). The only input that receives a gradient.
        teacher: Logits, shape (m, classes).
        temperature: T, above 0.

    Source: Huang et al., arXiv 2205.10536, equations 6 to 10; the factor T^2 is that of the authors' code.
    """
    mine, theirs = (student / temperature).softmax(dim=1), (teacher.detach() / temperature).softmax(dim=1)
    inter, intra = (correlation_distance(mine, theirs, dim=dim) for dim in (1, 0))
    return temperature**2 * inter, temperature**2 * intra


class DIST(LogitMethod):
    """CE + T^2 * (beta * (1 - correlation over classes) + gamma * (1 - correlation over the batch))."""

    method: Literal["dist"] = "dist"
    beta: Annotated[float, Field(ge=0, le=1000)] = 2.0
    """Factor of the relation between a sample's classes: 2 in the paper; search 0.1 to 10."""
    gamma: Annotated[float, Field(ge=0, le=1000)] = 2.0
    """Factor of the relation between samples, class by class: 2 in the paper; search 0.1 to 10."""
    temperature: Temperature = 1.0
    """Divides the logits of both networks: 4 on CIFAR-100 and 1 on ImageNet in the paper; search 1 to 8."""

    @override
    def weights(self, progress: float) -> dict[str, float]:
        return {"inter": self.beta, "intra": self.gamma}

    @override
    def loss(self, step: Step) -> Loss:
        student, teacher = rows(step, step.student.logits), rows(step, step.teacher.logits)
        inter, intra = dist_terms(student, teacher, temperature=self.temperature)
        loss = cross_entropy(step).plus("inter", inter, weight=step.weights["inter"])
        return loss.plus("intra", intra, weight=step.weights["intra"])
