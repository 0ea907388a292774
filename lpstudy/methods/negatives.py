"""Draws of negatives: for each training sample, others of another class."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lpstudy.sample_hash import hash64


class Negatives(nn.Module):
    """K draws with replacement from the training samples of other classes than a sample's own.

    A draw is a function of (seed, step, sample) alone: it is the same on every worker and after a resumption.
    A sample without a label is a class of its own; so is every sample where all are of one class.

    Args:
        labels: int64, shape (n,): of all training samples, negative for one without a label.
        drawn: K, lowered to the fewest samples that are of other classes.
    """

    seed: Tensor
    """int64, 0-dimensional, from the global random generator."""
    order: Tensor
    """int64, shape (n,): the samples, class by class."""
    first: Tensor
    """int64, shape (n,): where the class of each sample begins in `order`."""
    size: Tensor
    """int64, shape (n,): the number of samples of each sample's class."""

    def __init__(self, labels: Tensor, drawn: int) -> None:
        super().__init__()
        self.samples = len(labels)
        """n."""
        own = torch.arange(self.samples, device="cpu")
        labels = labels.detach().cpu()
        labels = torch.where(labels < 0, labels.max() + 1 + own, labels)
        classes, sizes = (torch.from_numpy(each) for each in _classes(labels.numpy()))
        if len(sizes) == 1:
            classes, sizes = own, torch.ones_like(own)
        self.drawn = max(1, min(drawn, self.samples - int(sizes.max())))
        """K."""
        self.register_buffer("seed", torch.randint(2**62, (), device="cpu"))
        self.register_buffer("order", classes.argsort(stable=True), persistent=False)
        self.register_buffer("first", (sizes.cumsum(0) - sizes)[classes], persistent=False)
        self.register_buffer("size", sizes[classes], persistent=False)

    def draws(self, samples: Tensor, step: Tensor) -> Tensor:
        """The negatives of some samples in a step, int64, shape (m, K).

        Args:
            samples: int64, shape (m,).
            step: int64, 0-dimensional.
        """
        numbers = torch.arange(self.drawn, device=samples.device)
        first, size = self.first[samples, None], self.size[samples, None]
        others = (self.samples - size).clamp(min=1)
        position = hash64(samples[:, None], self.seed, step, numbers) % others
        return self.order[torch.where(position >= first, position + size, position) % self.samples]

    def counts(self, samples: Tensor, step: Tensor, dtype: torch.dtype) -> Tensor:
        """How often each training sample is among the `draws`, shape (m, n), of a floating-point type."""
        draws = self.draws(samples, step)
        counts = torch.zeros(len(samples), self.samples, dtype=dtype, device=samples.device)
        return counts.scatter_add_(1, draws, torch.ones_like(draws, dtype=dtype))


def _classes(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The classes of all samples, numbered from 0, and the number of samples of each class."""
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return classes.astype(np.int64), sizes.astype(np.int64)
