"""Memory of a network's activations, and the number of images of a forward pass that fit in it."""

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
"""Bytes that an evaluation may always take, for they are few on any machine."""
LARGEST = 2**30
"""Most bytes of an evaluation: more images at once are no faster."""


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes of one image's float32 activations."""

    forward_peak: int
    """The peak of a forward pass without a gradient, including the image."""
    saved_for_backward: int
    """Bytes saved by a forward pass for its backward pass, including the image."""

    def rows(self, batch_size: int, device: torch.device) -> int:
        """The number of images (at least one) of a forward pass without a gradient in the memory of a step.

        The gradients of a step take as much memory as its saved tensors, and so half of these leaves room for
        the libraries. On a CPU tensors are also no larger than those of a step, for the allocator cannot put
        larger ones into the gaps of earlier steps.

        Args:
            batch_size: Images of a training step on this worker.
            device: The device of the forward pass.
        """
        room = min(max(batch_size * self.saved_for_backward // 2, SMALLEST), LARGEST)
        rows = max(1, room // self.forward_peak)
        return min(rows, max(batch_size, SMALLEST // self.forward_peak)) if device.type == "cpu" else rows


@cache
def activations_of(spec: StudentSpec, *, input_shape: tuple[int, int, int], classes: int) -> Activations:
    """Measure the activations of a spec's network on the meta device, where nothing is computed."""
    with torch.device("meta"):
        network = build(spec, input_shape=input_shape, classes=classes).eval()
        image = torch.empty(1, *input_shape)
    inputs = [*network.parameters(), *network.buffers(), image]
    excluded = {tensor.untyped_storage()._cdata for tensor in inputs}
    # A batch exists as bytes, as floats and, where a network needs it, with the channels last.
    pixels = image.numel() * (1 + 4 + 4)
    with torch.no_grad(), _LiveBytes(excluded) as live:
        network(image)
    saved_bytes: dict[int, int] = {}

    def record(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in excluded:
            saved_bytes[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        network(image)
    return Activations(live.peak + pixels, sum(saved_bytes.values()) + pixels)


def evaluation_chunk_size(spec: StudentSpec, data: Data, batch_size: int, device: torch.device) -> int:
    """The number of images of an evaluation's forward pass, in no more memory than a training step.

    Args:
        spec: The network that is trained.
        data: Its data.
        batch_size: Images of a training step over all workers.
        device: The device of the evaluation.
    """
    activations = activations_of(spec, input_shape=data.input_shape, classes=data.classes)
    return activations.rows(max(1, min(batch_size, len(data.train)) // parallel.world_size()), device)


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts the bytes of all live tensors that operators create.

    Args:
        excluded: Addresses of storages that are not counted.
    """

    def __init__(self, excluded: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._current = 0
        self._storages = set(excluded)

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
        if address in self._storages:
            return
        self._storages.add(address)
        self._current += size
        self.peak = max(self.peak, self._current)
        weakref.finalize(storage, self._free, address, size)

    def _free(self, address: int, size: int) -> None:
        self._storages.discard(address)
        self._current -= size
