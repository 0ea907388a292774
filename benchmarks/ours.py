"""lpstudy's side of a comparison, and the gate: one update equals that of the loop it is compared with."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from workload import CPU, GATE, Images, data, teacher, trial

from lpstudy.training.run import Run

SEED = 0
"""Of the trial that the gate begins: its weights are `network`'s."""


def gate_batch(given: Images, *, device: torch.device = CPU) -> tuple[Tensor, Tensor]:
    """The batch that `one_update` learns from, images in float64.

    The other side computes the same update in float64: in FitNet 4's 17 layers two orders of summation in
    float32 differ by 1e-3, for maxout and pools choose one piece or the other where two are nearly equal.
    """
    train = data(given, train=GATE).on(device).train
    batch = next(train.epoch(batch_size=GATE, seed=SEED, epoch=1, device=device))
    return batch.images.double(), batch.labels


def one_update(given: Images, student: str, *, device: torch.device = CPU) -> list[Tensor]:
    """What one float32 step of lpstudy's loop, its teacher run online, adds to each parameter."""
    split = data(given, train=GATE).on(device)
    one = trial(student, epochs=1, seed=SEED, batch_size=GATE)
    run = Run(one, split, teacher(device=device), device)
    before = copies(run.learner.student.parameters())
    run.steps(1)
    return changes(before, run.learner.student.parameters())


def copies(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """The values as they are now."""
    return [parameter.detach().clone() for parameter in parameters]


def changes(before: Iterable[Tensor], parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """What has been added to the values since."""
    return [after.detach() - start for start, after in zip(before, parameters, strict=True)]
