"""Optimisers and learning-rate schedules."""

import math
from collections.abc import Iterable

from torch import nn, optim

from lpstudy.space import Training

STEPS = (0.625, 0.75, 0.875)
"""Where `step` lowers the rate, as shares of the training: epochs 150, 180 and 210 of the usual 240."""


def make(parameters: Iterable[nn.Parameter], training: Training) -> optim.Optimizer:
    """The optimiser of a run."""
    rate, decay = training.learning_rate, training.weight_decay
    match training.optimizer:
        case "adam":
            return optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
        case "sgd":
            # Not fused: that form fails where weights get their first gradient later, as in FitNet's stages.
            return optim.SGD(
                parameters, lr=rate, weight_decay=decay, momentum=0.9, nesterov=True, foreach=True
            )
        case "rmsprop":
            return optim.RMSprop(parameters, lr=rate, weight_decay=decay)


def rate_at(training: Training, progress: float) -> float:
    """The learning rate after a share `progress` in [0, 1) of all steps."""
    match training.schedule:
        case "cosine":
            return training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
        case "step":
            return training.learning_rate * 0.1 ** sum(progress >= step for step in STEPS)
        case "constant":
            return training.learning_rate


def set_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """Use this learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
