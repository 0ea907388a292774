"""lpstudy's side of a comparison, and the gate: one update equals that of the loop it is compared with."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from workload import BATCH, CPU, Images, data, teacher, trial

from lpstudy.outputs import Batch
from lpstudy.training.run import Run


def first_batch(given: Images, student: str, *, device: torch.device = CPU) -> Batch:
    """The batch that `one_update` learns from: the first of seed 0's first epoch."""
    train = data(given, train=BATCH).on(device).train
    seed = trial(student, epochs=1).seed
    return next(train.epoch(batch_size=BATCH, seed=seed, epoch=1, device=device))


def one_update(given: Images, student: str, *, device: torch.device = CPU) -> list[Tensor]:
    """What one float32 step of lpstudy's loop, its teacher run online, adds to each parameter."""
    split = data(given, train=BATCH).on(device)
    run = Run(trial(student, epochs=1), split, teacher(device=device), device)
    before = copies(run.learner.student.parameters())
    run.steps(1)
    return changes(before, run.learner.student.parameters())


def copies(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """The values as they are now."""
    return [parameter.detach().clone() for parameter in parameters]


def changes(before: Iterable[Tensor], parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """What has been added to the values since."""
    return [after.detach() - start for start, after in zip(before, parameters, strict=True)]
