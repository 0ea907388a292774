"""A naive LP, and small inputs for everything that is said about it."""

import numpy as np
import torch
from torch import Tensor

from lpstudy.methods import StepContext
from lpstudy.methods.method import Distillation
from lpstudy.outputs import Outputs


def step_of(method: Distillation, progress: float = 0.9) -> StepContext:
    return StepContext(method.weights(progress), lambda rows: rows, 3)


def normal(samples: int, features: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, features, generator=generator, dtype=torch.float64)


def naive(student: np.ndarray, teacher: np.ndarray, k: int, bandwidth: float) -> tuple[float, np.ndarray]:
    """The definition as a double loop in float64: the loss and its gradient with respect to the student."""
    samples, loss, gradient = len(student), 0.0, np.zeros_like(student)
    for i in range(samples):
        distance = {j: float(((teacher[i] - teacher[j]) ** 2).sum()) for j in range(samples) if j != i}
        for j in sorted(distance, key=lambda other: distance[other])[:k]:
            affinity = np.exp(-distance[j] / bandwidth)
            difference = student[i] - student[j]
            loss += affinity * (difference**2).sum() / (2 * samples)
            gradient[i] += affinity * difference / samples
            gradient[j] -= affinity * difference / samples
    return loss, gradient


def outputs(embedding: Tensor, **maps: Tensor) -> Outputs:
    return Outputs(embedding[:, :3] * 2, embedding, maps)
