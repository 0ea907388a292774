"""Probabilistic knowledge transfer (Passalis and Tefas, arXiv 1803.10837)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy
from lpstudy.methods.method import Needs
from lpstudy.methods.relations import embeddings, gram, lengths
from lpstudy.methods.soft_targets import FeatureMethod

EPS = 1e-7
"""Added to lengths and to probabilities, as in the authors' code."""


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1/m^2 * sum_ij p_ij log(p_ij / q_ij), p of the teacher and q of the student.

    p_ij = k_ij / sum_l k_il with k_ij = (cos(x_i, x_j) + 1) / 2: how likely sample i takes j as its
    neighbour, itself included. The mean over m^2 rather than over m is what the published weight is for.

    Args:
        student: Features, shape (m, p). The only input that receives a gradient.
        teacher: Features, shape (m, q); q may differ from p.

    Source: Passalis and Tefas, arXiv 1803.10837, equations 3 to 6, with the cosine kernel; both parts of it
    alike in the authors' code.
    """
    p, q = _neighbor_probabilities(teacher.detach()), _neighbor_probabilities(student)
    return (p * torch.log((p + EPS) / (q + EPS))).mean()


def _neighbor_probabilities(features: Tensor) -> Tensor:
    similarities = (gram(features / (lengths(features, dim=1) + EPS)) + 1) / 2
    return similarities / similarities.sum(dim=1, keepdim=True)


class PKT(FeatureMethod):
    """CE + weight * 1/m^2 * sum of KL(teacher's || student's) probabilities of being neighbours."""

    method: Literal["pkt"] = "pkt"
    weight: Annotated[float, Field(ge=0, le=1e7)] = 3000.0
    """Factor of the PKT term; 30,000 in the published tables, much for small networks; search 300 to 1e5."""

    @override
    def feature_needs(self) -> Needs:
        return Needs(embedding=True)

    @override
    def feature_weights(self, progress: float) -> dict[str, float]:
        return {"pkt": self.weight}

    @override
    def feature_loss(self, step: Step) -> Loss:
        return cross_entropy(step).plus("pkt", pkt_loss(*embeddings(step)), weight=step.weights["pkt"])
