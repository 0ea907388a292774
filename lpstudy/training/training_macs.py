"""Multiply-accumulates that a run's training takes."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from lpstudy.distill import Method, Needs, Step
from lpstudy.training.teacher_outputs import TeacherOutputs


@dataclass(frozen=True, slots=True)
class TrainingMacs:
    """What one image costs in an epoch, in multiply-accumulates."""

    student: int
    """Its forward pass; a backward pass costs two of them."""
    teacher: Callable[[int], int]
    """The teacher's outputs in an epoch, counted from 1; 0 where the method reads none."""
    loss: tuple[float, float]
    """The loss with its gradient, in the first epochs and in the last ones: FitNet has two stages."""
    first: int
    """How many epochs the first ones are."""

    def of_teacher(self, epochs: int, images: int) -> float:
        """The teacher's part in so many epochs of so many images."""
        return float(images * sum(self.teacher(epoch) for epoch in range(1, epochs + 1)))

    def of_training(self, epochs: int, images: int) -> float:
        """All of it in so many epochs of so many images."""
        early = min(epochs, self.first)
        losses = early * self.loss[0] + (epochs - early) * self.loss[1]
        return self.of_teacher(epochs, images) + images * (3 * self.student * epochs + losses)


def training_macs(
    student: int, teacher: Callable[[int], int], loss: Callable[[int], float], *, epochs: int
) -> TrainingMacs:
    """The work of a run whose loss, a function of the epoch, changes its cost at most once."""
    begin = loss(1)
    first = bisect_left(range(1, epochs + 1), True, key=lambda epoch: loss(epoch) != begin)
    return TrainingMacs(student, teacher, (begin, loss(epochs)), first)


def teacher_macs(
    method: Method, teacher: TeacherOutputs | None, needs: Needs, epochs: int
) -> Callable[[int], int]:
    """What one image's outputs of the teacher cost in an epoch, counted from 1.

    A function of its own: one that held the run, which holds it, would keep the run's weights and its CUDA
    graph until the garbage collector comes by, into the next trial of the process.
    """

    def macs(epoch: int) -> int:
        wanted = method.needs_of(needs, method.weights((epoch - 1) / epochs))
        return teacher.macs(wanted, epoch) if teacher else 0

    return macs


def loss_macs(method: Method, step: Step) -> float:
    """Multiply-accumulates of a batch's loss with its gradient, for each of the m images.

    The step must be one of a whole batch: the graph of the LP methods costs more per image in a larger one.
    The auxiliary module is left without gradients.
    """
    leaves = step.student.detach()
    for tensor in (leaves.logits, leaves.embedding, *leaves.maps.values()):
        tensor.requires_grad_()
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        loss = method.loss(replace(step, student=leaves))
        loss.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    if step.auxiliary_module is not None:
        step.auxiliary_module.zero_grad(set_to_none=True)
    return int(counter.get_total_flops()) / 2 / len(step.labels)
