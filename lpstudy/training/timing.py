"""Measurement of a run's duration on this machine by a few of its steps."""

import time
from dataclasses import dataclass
from itertools import islice

import torch

from lpstudy.data import Data
from lpstudy.space import RunSpec
from lpstudy.training.meter import cpu_seconds
from lpstudy.training.precision import autocast
from lpstudy.training.teacher_outputs import TeacherOutputs
from lpstudy.training.trainer import Trainer

STEPS = 12
"""Timed training steps, after a warm-up."""
IMAGES = 64
"""Images of the timed evaluation batch."""


@dataclass(frozen=True, slots=True)
class RunSeconds:
    """Wall-clock seconds of the parts of a run."""

    setup: float
    """Seconds to build the networks and to count their MACs."""
    step: float
    """Seconds of a training step."""
    end: float
    """Seconds of an epoch's fixed work, without evaluation."""
    image: float
    """Seconds to evaluate an image."""
    cpu: float
    """Seconds of CPU time of this process in a second of a step."""
    training_macs: float
    """Multiply-accumulates of the whole run."""
    teacher_macs: float
    """The part of them that the teacher's outputs take."""

    def macs(self, *, is_banked: bool) -> float:
        """Multiply-accumulates of a run; without the teacher's outputs where a bank holds them."""
        return self.training_macs - (self.teacher_macs if is_banked else 0.0)

    def total(self, *, epochs: int, steps: int, validation: int, test: int = 0) -> float:
        """Seconds of a run with these numbers of epochs, steps per epoch, validation and test images."""
        epoch = steps * self.step + self.end + validation * self.image
        return self.setup + epochs * epoch + test * self.image


def time_run(
    trial: RunSpec, data: Data, teacher: TeacherOutputs | None, *, device: torch.device
) -> RunSeconds:
    """Time the parts of a run without side effects."""
    data = data.to(device)
    Trainer(trial, data, teacher, device)  # the first one also warms up the process
    start_time = time.monotonic()
    run = Trainer(trial, data, teacher, device)
    setup = time.monotonic() - start_time
    run.steps(1, 2)  # a warm-up, and on a GPU the recording
    many = min(STEPS, run.steps_per_epoch)
    few = many // 2
    seconds = {}
    cpu, wall = cpu_seconds(), time.monotonic()
    for count in (many, few) if few else (many,):
        start_time = time.monotonic()
        run.steps(2, count)
        seconds[count] = time.monotonic() - start_time
    cpu = (cpu_seconds() - cpu) / max(time.monotonic() - wall, 1e-9)
    step = (seconds[many] - seconds[few]) / (many - few) if few else seconds[many] / many
    whole = seconds[many] / many
    step = min(step, whole) if step > 0 else whole  # a busy machine cannot tell them apart
    images = run.steps_per_epoch * run.data.train.batch_length(trial.training.batch_size)
    macs = (run.macs.of_training(trial.epochs, images), run.macs.of_teacher(trial.epochs, images))
    return RunSeconds(setup, step, seconds[many] - many * step, _image_seconds(run), cpu, *macs)


@torch.no_grad()
def _image_seconds(run: Trainer) -> float:
    learner = run.learner
    learner.student.eval()
    split = run.data.validation
    rows = min(IMAGES, len(split))
    for _ in range(2):  # the first is a warm-up
        start_time = time.monotonic()
        for batch in islice(split.batches(batch_size=rows, device=run.device), 1):
            images = batch.images.contiguous(memory_format=learner.layout)
            with autocast(run.device, bf16=learner.bf16):
                learner.student(images).logits.float().sum().item()
    return (time.monotonic() - start_time) / rows
