"""The source of a run's teacher outputs: the network at each step, or a bank."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lpstudy.methods import Method, Needs, reductions
from lpstudy.outputs import Batch, Classifier, Network, Outputs


class TeacherOutputs(Protocol):
    """The teacher of a run."""

    @property
    def network(self) -> Network:
        """The teacher's network; on the meta device, without weights, where it does not run."""
        ...

    @property
    def classifier(self) -> Classifier | None:
        """The teacher's linear map from its embedding to its logits; None where it is not at hand."""
        ...

    @property
    def read_test_logits(self) -> Callable[[], Tensor] | None:
        """Reads the teacher's logits of the test images, shape (images, classes); None where none are stored.

        Raises an `UnreachableError` when called, where they cannot be read.
        """
        ...

    def macs(self, needs: Needs, epoch: int) -> int:
        """Multiply-accumulates of one image's outputs in an epoch, counted from 1."""
        ...

    def stored_bytes(self, needs: Needs) -> int:
        """Bytes that are stored of an image's outputs in one view; 0 where they are computed at each step."""
        ...

    def outputs(self, batch: Batch, needs: Needs) -> Outputs:
        """The needed outputs of a batch, without a gradient; others may have no columns."""
        ...


@runtime_checkable
class PrefetchingOutputs(Protocol):
    """Teacher outputs that can read a view before its epoch starts."""

    def fetch(self, view: int) -> None:
        """Start to read a view; return without waiting."""
        ...


def classifier_for(method: Method, teacher: TeacherOutputs | None) -> Classifier | None:
    """The teacher's classifier, where the method reads it.

    Raises:
        ValueError: The teacher has none.
    """
    if teacher is None or not method.teacher_needs().classifier:
        return None
    if teacher.classifier is None:
        raise ValueError(f"{method.method} needs a teacher with a linear classifier")
    return teacher.classifier


@torch.no_grad()
def example_outputs(teacher_outputs: TeacherOutputs, images: torch.Tensor, needs: Needs) -> Outputs:
    """Example outputs with the teacher's shapes for some images; zeros where it has no weights."""
    network = teacher_outputs.network
    device = next(network.parameters()).device
    outputs = reductions.teacher_outputs(network, images.to(device), needs.maps)
    if device == images.device:
        return outputs
    maps = {name: torch.zeros_like(value, device=images.device) for name, value in outputs.maps.items()}
    return Outputs(
        torch.zeros_like(outputs.logits, device=images.device),
        torch.zeros_like(outputs.embedding, device=images.device),
        maps,
    )
