"""The teacher's outputs by a forward pass at each step."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lpstudy.methods import Needs
from lpstudy.methods.reductions import layer_names, reduce_maps
from lpstudy.outputs import Batch, Classifier, Network, Outputs
from lpstudy.students.layers import last_linear
from lpstudy.training.memory_format import set_memory_format
from lpstudy.training.precision import autocast


class OnlineTeacher:
    """Runs the teacher at each step; see `lpstudy.training.TeacherOutputs`."""

    def __init__(
        self, network: Network, macs: int, *, device: torch.device | None = None, bf16: bool = False
    ) -> None:
        self._device = device or torch.device("cpu")
        self._network: Network = network.to(self._device).eval().requires_grad_(False)
        self._layout = set_memory_format(self._network)
        self._running_network = _bf16_copy(self._network) if bf16 else self._network
        self._macs = macs
        self._bf16 = bf16
        self.read_test_logits: Callable[[], Tensor] | None = None
        """See `lpstudy.training.TeacherOutputs`."""

    @property
    def network(self) -> Network:
        """The teacher, in evaluation mode and without gradients."""
        return self._network

    @property
    def classifier(self) -> Classifier | None:
        """The network's last linear layer, in float32; None where there is none."""
        head = last_linear(self._network)
        return None if head is None else Classifier(head[1].weight, head[1].bias)

    def macs(self, needs: Needs, epoch: int) -> int:
        """Multiply-accumulates of one image's forward pass; none where no output is needed."""
        del epoch
        return 0 if needs == Needs() else self._macs

    def stored_bytes(self, needs: Needs) -> int:
        """None."""
        del needs
        return 0

    @torch.no_grad()
    def outputs(self, batch: Batch, needs: Needs) -> Outputs:
        """The teacher's outputs for the batch's images; reduced maps are in float32."""
        images = batch.images.contiguous(memory_format=self._layout)
        with autocast(self._device, bf16=self._bf16):
            outputs: Outputs = self._running_network(images, layer_names(needs.maps))
        return reduce_maps(outputs, needs.maps)


def _bf16_copy(network: Network) -> Network:
    """A copy with weights in bfloat16 where autocast would cast them at each step."""
    network_copy = copy.deepcopy(network)
    for module in network_copy.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(torch.bfloat16)
    return network_copy
