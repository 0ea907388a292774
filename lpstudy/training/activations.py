"""How much memory a network's activations take, and how many images fit without a gradient."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lpstudy.data import Data
from lpstudy.students import StudentSpec, build
from lpstudy.training import parallel

SMALLEST = 32 * 2**20
"""Bytes that an evaluation may take however small the training batch is: too few to matter to a machine."""
LARGEST = 2**30
"""Bytes that an evaluation takes at most: more images at once are no quicker."""


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes of one image's float32 activations."""

    forward_peak: int
    """The most that a forward pass without a gradient holds at once, the image itself included."""
    saved_for_backward: int
    """What a forward pass keeps for its backward pass, the image itself included."""

    def rows(self, batch_size: int, device: torch.device) -> int:
        """How many images to run at once without a gradient: at least one, in no more memory than a step.

        A step takes as much again for its gradients as it keeps, and so half of what it keeps leaves room for
        what the libraries take. On a CPU tensors are also no larger than those of a step, for the allocator
        puts larger ones beside the gaps that a step has left.

        Args:
            batch_size: Images of a training step on this worker.
            device: Where they are run.
        """
        room = min(max(batch_size * self.saved_for_backward // 2, SMALLEST), LARGEST)
        rows = max(1, room // self.forward_peak)
        return min(rows, max(batch_size, SMALLEST // self.forward_peak)) if device.type == "cpu" else rows


@cache
def activations_of(spec: StudentSpec, *, input_shape: tuple[int, int, int], classes: int) -> Activations:
    """The activations of a spec's network, measured on the meta device, where nothing is computed."""
    with torch.device("meta"):
        network = build(spec, input_shape=input_shape, classes=classes).eval()
        image = torch.empty(1, *input_shape)
    there = [*network.parameters(), *network.buffers(), image]
    known = {tensor.untyped_storage()._cdata for tensor in there}
    # A batch is there as bytes, as numbers and, where a network wants it so, with its channels side by side.
    pixels = image.numel() * (1 + 4 + 4)
    with torch.no_grad(), _Live(known) as live:
        network(image)
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network(image)
    return Activations(live.peak + pixels, sum(kept.values()) + pixels)


def evaluation_chunk_size(spec: StudentSpec, data: Data, batch_size: int, device: torch.device) -> int:
    """How many images a worker evaluates at once, in no more memory than its training step takes.

    Args:
        spec: The network that is trained.
        data: Its data.
        batch_size: Images of a training step over all workers.
        device: Where it is run.
    """
    found = activations_of(spec, input_shape=data.input_shape, classes=data.classes)
    return found.rows(max(1, min(batch_size, len(data.train)) // parallel.world_size()), device)


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts the bytes of all tensors that operators make and that still exist.

    Args:
        known: Addresses of the storages that are not counted.
    """

    def __init__(self, known: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._now = 0
        self._known = set(known)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, Tensor):
                self._count(result.untyped_storage())
        return results

    def _count(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self._known:
            return
        self._known.add(address)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._free, address, size)

    def _free(self, address: int, size: int) -> None:
        self._known.discard(address)
        self._now -= size
