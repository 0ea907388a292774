"""Steps of a method on made-up outputs."""

import torch
from torch import Tensor, nn

from lpstudy.methods import Step, StepContext
from lpstudy.outputs import Outputs


def step_on(
    context: StepContext,
    student: Outputs,
    teacher: Outputs | None,
    labels: Tensor,
    auxiliary: nn.Module | None = None,
) -> Step:
    """The step of a batch that is the whole training part."""
    return context.step(student, teacher, labels, torch.arange(len(labels)), auxiliary)


def unweighted(classes: int) -> StepContext:
    """An epoch whose terms have no weights, for what only looks at the outputs."""
    return StepContext({}, lambda rows: rows, classes)
