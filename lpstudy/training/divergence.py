"""Mean loss terms of an epoch, and the error where the loss is not finite."""

import math

import torch
from torch import Tensor

from lpstudy.training import parallel


class DivergedError(ArithmeticError):
    """The loss became infinite or not a number."""


def mean_terms(sums: dict[str, Tensor], steps: int) -> dict[str, float]:
    """The mean of each term over the steps and the workers."""
    names = sorted(sums)  # the same order on every worker: a checkpoint has any order
    totals = (
        parallel.all_reduce_sum(torch.stack([sums[name].double() for name in names])) / parallel.world_size()
    )
    return dict(zip(names, (totals / steps).tolist(), strict=True))


def check_finite(means: dict[str, float], epoch: int) -> dict[str, float]:
    """Check that the loss is finite; return the means."""
    if not math.isfinite(means["train_loss"]):
        raise DivergedError(f"loss is {means['train_loss']} in epoch {epoch}")
    return means
