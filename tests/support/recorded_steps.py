"""Training steps, recorded or eager, and a network that draws random numbers in each."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lpstudy.data import Order
from lpstudy.methods import StepContext
from lpstudy.outputs import Network, Outputs
from lpstudy.training import checkpoint, optimizers
from lpstudy.training.teacher_outputs import classifier_for
from lpstudy.training.trainer import Trainer

EPOCHS = 4
"""Epochs of two steps; the fifth step is the first after fitnet's hint stage."""


def steps(run: Trainer, step: Callable[..., Any], count: int = 8) -> list[dict[str, float]]:
    """The loss terms of `count` steps with the schedule's rates and weights."""
    terms_of_steps: list[dict[str, float]] = []
    run.learner.student.train()
    for epoch in range(1, EPOCHS + 1):
        weights = run.method.weights((epoch - 1) / EPOCHS)
        needs = run.method.needs_of(run.needs, weights)
        for batch in run.data.train.epoch(Order(0, epoch, 50), device=run.device):
            if len(terms_of_steps) == count:
                return terms_of_steps
            rate = optimizers.rate_at(run.training, len(terms_of_steps) / 2, EPOCHS)
            optimizers.set_rate(run.learner.optimizer, rate)
            target = run.teacher.outputs(batch, needs) if run.teacher else None
            classifier = classifier_for(run.method, run.teacher)
            context = StepContext(weights, lambda rows: rows, run.data.classes, classifier=classifier)
            terms, _ = step(batch, target, context)
            terms_of_steps.append({name: float(term) for name, term in terms.items()})
    return terms_of_steps


def state(run: Trainer) -> dict[str, Tensor]:
    learner = run.learner
    return checkpoint.pack_state(learner.modules, learner.optimizer)


class Dropping(Network):
    """Draws random numbers in each step."""

    map_names = ()
    middle = ""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(12, 16), nn.Dropout(0.5), nn.Linear(16, 10)

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        embedding = self.drop(torch.relu(self.first(images.flatten(1))))
        return Outputs(self.last(embedding), embedding, {})
