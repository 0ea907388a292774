"""Relations between the samples of a batch, as the relational methods compare them.

Everything is computed in float32 outside autocast; float64 stays float64. Nothing waits for the device.
"""

import torch
from torch import Tensor

from lpstudy.methods.loss import Step, full_precision


def embeddings(step: Step) -> tuple[Tensor, Tensor]:
    """The student's and the teacher's penultimate features of all workers, shape (m, p) and (m, q).

    The student's carry the gradient.
    """
    return rows(step, step.student.embedding), rows(step, step.teacher.embedding)


def rows(step: Step, values: Tensor) -> Tensor:
    """A layer's outputs of all workers as vectors, shape (m, ...) to (workers * m, features)."""
    return full_precision(step.gather(values.flatten(1)))


def gram(features: Tensor) -> Tensor:
    """F F^T of features F of shape (m, p), in their own precision: autocast would round them to bfloat16."""
    with torch.autocast(features.device.type, enabled=False):
        product: Tensor = features @ features.T
    return product


def lengths(values: Tensor, *, dim: int) -> Tensor:
    """The Euclidean length along a dimension, which stays with size 1.

    At zeros it is 1e-12 in place of 0 and the gradient is 0: a root of 0 would have none.
    """
    return values.square().sum(dim=dim, keepdim=True).clamp(min=1e-24).sqrt()
