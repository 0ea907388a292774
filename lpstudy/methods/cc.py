"""Correlation congruence (Peng et al., arXiv 1904.01802)."""

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy
from lpstudy.methods.method import Needs
from lpstudy.methods.relations import embeddings, gram, lengths
from lpstudy.methods.soft_targets import FeatureMethod


def correlations(features: Tensor, *, gamma: float, order: int) -> Tensor:
    """c_ij = exp(-2 gamma) * sum_{p=0}^{order} (2 gamma)^p / p! * (x_i . x_j)^p with |x_i| = 1, shape (m, m).

    The Taylor series of the Gaussian kernel exp(-gamma |x_i - x_j|^2).

    Source: Peng et al., arXiv 1904.01802, section 3.4.
    """
    cosines = gram(features / lengths(features, dim=1))
    # Horner's scheme: 1 + z (1 + z/2 (1 + z/3 ...)).
    series = cosines.new_ones(cosines.shape)
    for power in range(order, 0, -1):
        series = 1 + series * cosines * (2 * gamma / power)
    return math.exp(-2 * gamma) * series


def cc_loss(student: Tensor, teacher: Tensor, *, gamma: float, order: int) -> Tensor:
    """1/m^2 * sum_ij (c_ij of the student - c_ij of the teacher)^2.

    Args:
        student: Features, shape (m, p). The only input that receives a gradient.
        teacher: Features, shape (m, q); q may differ from p: only correlations are compared.
        gamma: Of the Gaussian kernel.
        order: The highest power of the series.

    Source: Peng et al., arXiv 1904.01802, equation 5.
    """
    target = correlations(teacher.detach(), gamma=gamma, order=order)
    return functional.mse_loss(correlations(student, gamma=gamma, order=order), target)


class CC(FeatureMethod):
    """CE + weight * mean squared difference of the two networks' correlations between samples.

    RepDistiller's loss of this name is another one: the mean over consecutive samples of
    sum_c |s_i - t_i|_c |s_{i+1} - t_{i+1}|_c after two learned embeddings of equal size. It compares a sample
    with its own teacher's features and depends on the order of the batch; the published weight 0.02 is its.
    """

    method: Literal["cc"] = "cc"
    weight: Annotated[float, Field(ge=0, le=1e6)] = 10.0
    """Factor of the CC term; search 0.01 to 1e3. The published 0.02 belongs to RepDistiller's other loss."""
    gamma: Annotated[float, Field(gt=0, le=10)] = 0.4
    """Of the Gaussian kernel exp(-gamma |x - y|^2) between features of length 1; search 0.1 to 2."""
    order: Annotated[int, Field(ge=1, le=16)] = 2
    """Highest power of the cosine in the kernel's Taylor series; 2 in the paper; search 1 to 5."""

    @override
    def feature_needs(self) -> Needs:
        return Needs(embedding=True)

    @override
    def feature_weights(self, progress: float) -> dict[str, float]:
        return {"cc": self.weight}

    @override
    def feature_loss(self, step: Step) -> Loss:
        term = cc_loss(*embeddings(step), gamma=self.gamma, order=self.order)
        return cross_entropy(step).plus("cc", term, weight=step.weights["cc"])
