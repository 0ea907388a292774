"""lpstudy's side of a comparison, and the gate: one update equals that of the loop it is compared with."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

import torch
from measuring import DisagreementError
from torch import Tensor, nn
from workload import CPU, GATE, Images, make_data, teacher, trial

from lpstudy.data import Data, Order
from lpstudy.training import TeacherOutputs
from lpstudy.training.trainer import Trainer

_Result = TypeVar("_Result")
MAX_TRIES = 3
"""Sets of images that a gate may try."""
SEED = 0
"""The seed of the gate's trial: its weights are `network`'s."""


def first_agreement(compare: Callable[[Images], _Result], images: Images) -> _Result:
    """The result of a comparison on the first of three sets of images on which the sides agree.

    Maxout and pools choose one piece or the other where two are nearly equal, so that rounding alone makes
    float32 and float64 differ by 1e-3 on some images, in FitNet 3 and 4 on one of three. A side that computes
    something else differs on all.

    Raises:
        DisagreementError: The sides agree on none.
    """
    starts = range(0, min(MAX_TRIES * GATE, len(images.labels)), GATE)
    for start in starts[:-1]:
        with suppress(DisagreementError):
            return compare(_from(images, start))
    return compare(_from(images, starts[-1]))


def _from(images: Images, start: int) -> Images:
    return Images(images.pixels[start:], images.labels[start:], images.source)


def gate_data(images: Images) -> Data:
    """The images of the gate in the one view that they are shown in."""
    return make_data(images, train=GATE).with_views(1)


def gate_batch(images: Images, *, device: torch.device = CPU) -> tuple[Tensor, Tensor]:
    """The batch that `one_update` learns from, images in float64.

    The other side computes the same update in float64; see `first_agreement`.
    """
    train = gate_data(images).to(device).train
    batch = next(train.epoch(Order(SEED, 1, GATE), device=device))
    return batch.images.double(), batch.labels


def one_update(
    images: Images, student: str, teacher_outputs: TeacherOutputs | None = None, *, device: torch.device = CPU
) -> list[Tensor]:
    """The change of each parameter in one float32 step of lpstudy's loop.

    Args:
        images: At least those of `gate_data`.
        student: Its name.
        teacher_outputs: None: of the teacher itself, run at that step.
        device: Where.
    """
    data = gate_data(images).to(device)
    one = trial(student, epochs=1, seed=SEED, batch_size=GATE)
    run = Trainer(one, data, teacher_outputs or teacher(device=device), device)
    before = copies(run.learner.student.parameters())
    run.steps(1)
    return changes(before, run.learner.student.parameters())


def copies(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """The values as they are now."""
    return [parameter.detach().clone() for parameter in parameters]


def changes(before: Iterable[Tensor], parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """The change of the values since `before`."""
    return [after.detach() - start for start, after in zip(before, parameters, strict=True)]
