"""Relational knowledge distillation (Park et al., arXiv 1904.05068)."""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy
from lpstudy.methods.method import Needs
from lpstudy.methods.relations import embeddings, gram
from lpstudy.methods.soft_targets import FeatureMethod

EPS = 1e-12
"""The smallest squared distance of two samples, as in the authors' code."""
TRIPLES = {"cpu": 2**18, "cuda": 2**25}
"""Angles in memory at once: few enough for a core's cache, many enough for a GPU."""


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1/m^2 * sum_ij huber(d_ij - e_ij), d the student's distances divided by their mean, e the teacher's.

    huber(x) = x^2 / 2 for |x| < 1, else |x| - 1/2. Pairs that differ by no more than rounding have no
    gradient; the mean is that of different samples.

    Args:
        student: Features, shape (m, p). The only input that receives a gradient.
        teacher: Features, shape (m, q).

    Source: Park et al., arXiv 1904.05068, equations 5 to 7.
    """
    return functional.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher.detach()))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1/m^3 * sum_ijk huber(cos of the student's angle at i between j and k - that of the teacher).

    The angle at i of a sample that equals i, up to rounding, has cosine 0 and no gradient. Angles come from
    the Gram matrices, so that no tensor has m * m * p elements, and never are all m^3 of them in memory.

    Args:
        student: Features, shape (m, p). The only input that receives a gradient.
        teacher: Features, shape (m, q).

    Source: Park et al., arXiv 1904.05068, equations 8 to 10.
    """
    with torch.no_grad():
        target = _gram_and_inverse_distances(teacher)
    loss: Tensor = _AngleLoss.apply(*_gram_and_inverse_distances(student), *target)
    return loss


def _squared_distances(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The Gram matrix of the centred features, squared distances, and the largest that may be rounding."""
    products = gram(features - features.mean(dim=0))
    norms = products.diagonal()
    floor = (4 * torch.finfo(norms.dtype).eps * norms.detach().mean()).clamp(min=EPS)
    return products, norms[:, None] + norms - 2 * products, floor


def _relative_distances(features: Tensor) -> Tensor:
    _, squared, floor = _squared_distances(features)
    samples = features.shape[0]
    others = 1 - torch.eye(samples, dtype=features.dtype, device=features.device)
    distances = torch.maximum(squared, floor).sqrt() * others
    mean = distances.sum() / max(samples * (samples - 1), 1)
    return distances / mean.clamp(min=EPS)


def _gram_and_inverse_distances(features: Tensor) -> tuple[Tensor, Tensor]:
    """The Gram matrix of the centred features and 1 / |x_i - x_j|, 0 where they coincide; both (m, m)."""
    products, squared, floor = _squared_distances(features)
    return products, torch.maximum(squared, floor).rsqrt() * (squared > floor)


class _AngleLoss(torch.autograd.Function):
    """Value and gradient of the angles' loss, some vertices i at a time.

    cos_ijk = (G_jk - G_ij - G_ik + G_ii) r_ij r_ik, G the Gram matrix and r the inverse distances.
    """

    @staticmethod
    def forward(ctx: Any, products: Tensor, inverse: Tensor, *target: Tensor) -> Tensor:
        samples = products.shape[0]
        many = max(1, TRIPLES.get(products.device.type, TRIPLES["cpu"]) // samples**2)
        total = products.new_zeros(())
        of_products, of_inverse = torch.zeros_like(products), torch.zeros_like(inverse)
        for first in range(0, samples, many):
            vertices = slice(first, first + many)
            cosines = _cosines(products, inverse, vertices)
            difference = cosines - _cosines(target[0], target[1], vertices)
            slope = difference.clamp(-1, 1)
            flat = slope.flatten()
            total += torch.dot(flat, difference.flatten()) - torch.dot(flat, flat) / 2
            # d cos_ijk / d r_ij = cos_ijk / r_ij; k and j change places, hence the factor 2.
            near = inverse[vertices]
            of_near = 2 * torch.linalg.vecdot(slope, cosines)
            of_inverse[vertices] = torch.where(near > 0, of_near / near, 0)
            slope *= near[:, :, None]
            slope *= near[:, None, :]
            of_products += slope.sum(dim=0)
            of_vertices = slope.sum(dim=2)
            of_products[vertices] -= 2 * of_vertices
            of_products.diagonal()[vertices] += of_vertices.sum(dim=1)
        ctx.save_for_backward(of_products, of_inverse)
        return total / samples**3

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        of_products, of_inverse = ctx.saved_tensors
        factor = grads[0] / of_products.shape[0] ** 3
        return of_products * factor, of_inverse * factor, None, None


def _cosines(products: Tensor, inverse: Tensor, vertices: slice) -> Tensor:
    """Cosines of the angles at some vertices, shape (vertices, m, m)."""
    own, near = products[vertices], inverse[vertices]
    half = own - products.diagonal()[vertices, None] / 2
    cosines = products - half[:, :, None]
    cosines -= half[:, None, :]
    cosines *= near[:, :, None]
    cosines *= near[:, None, :]
    return cosines


class RKD(FeatureMethod):
    """CE + distance_weight * Huber loss of relative distances + angle_weight * Huber loss of angles."""

    method: Literal["rkd"] = "rkd"
    distance_weight: Annotated[float, Field(ge=0, le=1e5)] = 2.5
    """Factor of the distances' term, which 0 leaves out; 25 in the published tables; search 0.25 to 100."""
    angle_weight: Annotated[float, Field(ge=0, le=1e5)] = 5.0
    """Factor of the angles' term, which 0 leaves out; 50 in the published tables; search 0.5 to 200."""

    @override
    def feature_needs(self) -> Needs:
        return Needs(embedding=True)

    @override
    def feature_weights(self, progress: float) -> dict[str, float]:
        weights = {"distance": self.distance_weight, "angle": self.angle_weight}
        return {name: weight for name, weight in weights.items() if weight > 0}

    @override
    def feature_loss(self, step: Step) -> Loss:
        student, teacher = embeddings(step)
        loss = cross_entropy(step)
        for name, term in (("distance", distance_loss), ("angle", angle_loss)):
            if name in step.weights:
                loss = loss.plus(name, term(student, teacher), weight=step.weights[name])
        return loss
