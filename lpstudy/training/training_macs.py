"""Multiply-accumulates (MACs) of a run's training."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from lpstudy.methods import Method, Needs, Step
from lpstudy.training.teacher_outputs import TeacherOutputs


@dataclass(frozen=True, slots=True)
class TrainingMacs:
    """Multiply-accumulates of one image in an epoch, by part."""

    student: int
    """The student's forward pass; a backward pass costs twice as much."""
    teacher: Callable[[int], int]
    """The teacher's outputs in an epoch, counted from 1; 0 where the method reads none."""
    loss: tuple[float, ...]
    """The loss with its gradient, epoch by epoch."""

    def of_teacher(self, epochs: int, images: int) -> float:
        """The teacher's part over a number of epochs with a number of images each."""
        return float(images * sum(self.teacher(epoch) for epoch in range(1, epochs + 1)))

    def of_loss(self, epochs: int) -> float:
        """The loss's part, with its auxiliary module and gradient: of one image, the mean over the epochs."""
        return sum(self.loss[:epochs]) / epochs

    def of_training(self, epochs: int, images: int) -> float:
        """The total over a number of epochs with a number of images each."""
        losses = sum(count * cost for cost, count in Counter(self.loss[:epochs]).items())
        return self.of_teacher(epochs, images) + images * (3 * self.student * epochs + losses)


def epoch_loss_macs(
    loss: Callable[[Mapping[str, float]], float], epoch_weights: Sequence[Mapping[str, float]]
) -> tuple[float, ...]:
    """The cost of the loss epoch by epoch, computed once for each set of terms.

    Args:
        loss: The cost of a loss whose terms have these factors; it may depend on which of them are 0.
        epoch_weights: The factors in each epoch.
    """
    costs: dict[frozenset[tuple[str, bool]], float] = {}
    epochs = []
    for weights in epoch_weights:
        terms = frozenset((name, weight != 0) for name, weight in weights.items())
        if terms not in costs:
            costs[terms] = loss(weights)
        epochs.append(costs[terms])
    return tuple(epochs)


def teacher_macs(
    method: Method, teacher: TeacherOutputs | None, needs: Needs, epochs: int
) -> Callable[[int], int]:
    """MACs of one image's teacher outputs as a function of the epoch, counted from 1.

    The function does not refer to the run: the cycle would keep the run's weights and CUDA graph alive until
    the next garbage collection, into the next trial of the process.
    """

    def macs(epoch: int) -> int:
        epoch_needs = method.needs_of(needs, method.weights_in(epoch, epochs))
        return teacher.macs(epoch_needs, epoch) if teacher else 0

    return macs


def loss_macs(method: Method, step: Step) -> float:
    """Multiply-accumulates of a batch's loss with its gradient, per image.

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
