"""Optimisers and learning-rate schedules."""

import math
from collections.abc import Iterable

import torch
from torch import nn, optim

from lpstudy.space import Training

WARMUP_START = 0.01
"""The least share of the rate in a warm-up; a rate of 0 would waste the first step."""


def make_optimizer(
    parameters: Iterable[nn.Parameter], training: Training, device: torch.device
) -> optim.Optimizer:
    """The optimiser of a run; on a GPU its rate is a tensor there, so that a recorded step sees it change."""
    on_gpu = device.type == "cuda"
    rate = torch.tensor(training.learning_rate, device=device) if on_gpu else training.learning_rate
    decay = training.weight_decay
    match training.optimizer:
        case "adam":
            return optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True, capturable=on_gpu)
        case "sgd":
            nesterov = training.nesterov
            sgd = optim.SGD(
                parameters, lr=rate, weight_decay=decay, momentum=0.9, nesterov=nesterov, fused=True
            )
            # The fused form fails where weights get their first gradient later, as in FitNet's stages, for
            # they have no momentum yet; a first step from a momentum of 0 is the same step.
            for group in sgd.param_groups:
                for parameter in group["params"]:
                    sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return sgd
        case "rmsprop":
            return optim.RMSprop(parameters, lr=rate, weight_decay=decay, foreach=True, capturable=on_gpu)


def rate_at(training: Training, epochs_done: float, epochs: int) -> float:
    """The learning rate of the step that begins after so many epochs, whole ones and a share, of `epochs`.

    Within `warmup_epochs` the schedule's rate is multiplied by the share of the warm-up that is done, from
    WARMUP_START on.
    """
    rate = training.learning_rate * _factor(training, epochs_done, epochs)
    if epochs_done >= training.warmup_epochs:
        return rate
    return rate * max(epochs_done / training.warmup_epochs, WARMUP_START)


def _factor(training: Training, epochs_done: float, epochs: int) -> float:
    """What the schedule multiplies the rate by."""
    match training.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * epochs_done / epochs))
        case "step":
            milestones = (
                milestone if milestone >= 1 else milestone * epochs for milestone in training.milestones
            )
            return 0.1 ** sum(epochs_done >= milestone for milestone in milestones)
        case "constant":
            return 1.0


def set_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """Use this learning rate from the next step on."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
