"""Where a run has its teacher's outputs from: the network at each step, or a bank that was filled before."""

from typing import Protocol, runtime_checkable

import torch

from lpstudy.distill import Needs
from lpstudy.outputs import Batch, Network, Outputs


class TeacherOutputs(Protocol):
    """The teacher as a run sees it."""

    @property
    def network(self) -> Network:
        """The teacher; on the meta device, without weights, where it does not have to run."""
        ...

    def macs(self, needs: Needs, epoch: int) -> int:
        """Multiply-accumulates that one image's outputs cost in an epoch, counted from 1."""
        ...

    def outputs(self, batch: Batch, needs: Needs) -> Outputs:
        """What is needed for a batch, without a gradient; what is not needed may have no columns."""
        ...


@runtime_checkable
class Fetching(Protocol):
    """Targets that can read an epoch's view before it begins."""

    def fetch(self, view: int) -> None:
        """Begin to read a view; returns at once."""
        ...


@torch.no_grad()
def example(teacher_outputs: TeacherOutputs, images: torch.Tensor, needs: Needs) -> Outputs:
    """Outputs of the teacher's shapes for some images; zeros where it has no weights."""
    network = teacher_outputs.network
    device = next(network.parameters()).device
    outputs: Outputs = network(images.to(device), needs.maps)
    if device == images.device:
        return outputs
    maps = {name: torch.zeros_like(value, device=images.device) for name, value in outputs.maps.items()}
    return Outputs(
        torch.zeros_like(outputs.logits, device=images.device),
        torch.zeros_like(outputs.embedding, device=images.device),
        maps,
    )
