"""Optimisers and learning-rate schedules."""

import math
from collections.abc import Iterable

import torch
from torch import nn, optim

from lpstudy.space import Training

STEPS = (0.625, 0.75, 0.875)
"""Shares of the training after which `step` lowers the rate: epochs 150, 180 and 210 of the usual 240."""


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
            sgd = optim.SGD(parameters, lr=rate, weight_decay=decay, momentum=0.9, nesterov=True, fused=True)
            # The fused form fails where weights get their first gradient later, as in FitNet's stages, for
            # they have no momentum yet; a first step from a momentum of 0 is the same step.
            for group in sgd.param_groups:
                for parameter in group["params"]:
                    sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return sgd
        case "rmsprop":
            return optim.RMSprop(parameters, lr=rate, weight_decay=decay, foreach=True, capturable=on_gpu)


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
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
