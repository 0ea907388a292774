"""How long a run takes on this machine, from a few of its steps."""

import time
from dataclasses import dataclass
from itertools import islice

import torch

from lpstudy.data import Data
from lpstudy.space import RunSpec
from lpstudy.training.precision import autocast
from lpstudy.training.teacher_outputs import TeacherOutputs
from lpstudy.training.trainer import Trainer

STEPS = 12
"""Of training that are timed, after a warm-up."""
IMAGES = 64
"""Of the batch that evaluation is timed by."""


@dataclass(frozen=True, slots=True)
class RunSeconds:
    """Wall seconds of the parts of a run."""

    setup: float
    """Of its networks, and of counting their work."""
    step: float
    """Of training."""
    end: float
    """Of what an epoch does once, but for its evaluation."""
    image: float
    """Of evaluation."""

    def total(self, *, epochs: int, steps: int, validation: int, test: int = 0) -> float:
        """Of a run with so many steps an epoch, so many validation images, and so many for its test."""
        epoch = steps * self.step + self.end + validation * self.image
        return self.setup + epochs * epoch + test * self.image


def time_run(
    trial: RunSpec, data: Data, teacher: TeacherOutputs | None, *, device: torch.device
) -> RunSeconds:
    """Time the parts of a run; leaves no trace."""
    data = data.to(device)
    Trainer(trial, data, teacher, device)  # what a process does once
    began = time.monotonic()
    run = Trainer(trial, data, teacher, device)
    setup = time.monotonic() - began
    run.steps(1, 2)  # a warm-up, and on a GPU the recording
    most = min(STEPS, max(1, len(data.train) // trial.training.batch_size))
    few = most // 2
    taken = {}
    for count in (most, few) if few else (most,):
        began = time.monotonic()
        run.steps(2, count)
        taken[count] = time.monotonic() - began
    step = (taken[most] - taken[few]) / (most - few) if few else taken[most] / most
    step = min(max(step, 0.0), taken[most] / most)
    return RunSeconds(setup, step, taken[most] - most * step, _image_seconds(run))


@torch.no_grad()
def _image_seconds(run: Trainer) -> float:
    learner = run.learner
    learner.student.eval()
    split = run.data.validation
    rows = min(IMAGES, len(split))
    for _ in range(2):  # the first is a warm-up
        began = time.monotonic()
        for batch in islice(split.batches(batch_size=rows, device=run.device), 1):
            images = batch.images.contiguous(memory_format=learner.layout)
            with autocast(run.device, bf16=learner.bf16):
                learner.student(images).logits.float().sum().item()
    return (time.monotonic() - began) / rows
