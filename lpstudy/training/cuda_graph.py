"""A step recorded once as a CUDA graph and repeated: one launch in the place of some two hundred.

Source: PyTorch, "CUDA graphs", section "Whole-network capture".
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lpstudy.distill import StepContext
from lpstudy.outputs import Batch, Outputs
from lpstudy.training.memory import memory_error
from lpstudy.training.partial_epoch import generators, restore_generators
from lpstudy.training.step import Learner

WARM_UP = 3
"""Steps before the recording, in which libraries choose their kernels; they leave no trace, nor do the random
numbers that they draw."""


class RecordedStep:
    """Does what `Learner.step` does, from its second call with the same shapes and terms on by replaying.

    What changes from step to step lies in tensors that keep their place: the batch, the teacher's outputs,
    the weights of the loss's terms and the learning rate. Where a step cannot be recorded, as one that waits
    for the device cannot, it is run as it is.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._key: object = None
        self._graph: Any = None
        self._batch: Batch | None = None
        self._target: Outputs | None = None
        self._weights: dict[str, Tensor] = {}
        self._result: tuple[Mapping[str, Tensor], Outputs] | None = None
        self.refusal: str | None = None
        """Why steps are not recorded, where they are not."""

    def __call__(
        self, batch: Batch, target: Outputs | None, context: StepContext
    ) -> tuple[Mapping[str, Tensor], Outputs]:
        """See `Learner.step`; what is returned is overwritten by the next call."""
        if self.refusal is not None:
            return self._learner.step(batch, target, context)
        key = (batch.images.shape, None if target is None else _shapes(target), tuple(context.weights))
        if key != self._key:
            self._key = key
            try:
                self._record(batch, target, context)
            except RuntimeError as error:
                if memory_error(error) is not None:
                    raise
                self.refusal = " ".join(str(error).split())[:200]
                return self._learner.step(batch, target, context)
        self._fill(batch, target, context)
        self._graph.replay()
        if self._result is None:
            raise RuntimeError("a step was replayed that was not recorded")
        return self._result

    def _fill(self, batch: Batch, target: Outputs | None, context: StepContext) -> None:
        if self._batch is not None:
            self._batch.images.copy_(batch.images)
            self._batch.labels.copy_(batch.labels)
            if self._learner.method.reads_samples:
                self._batch.samples.copy_(batch.samples)
        if self._target is not None and target is not None:
            for kept, given in zip(_tensors(self._target), _tensors(target), strict=True):
                kept.copy_(given)
        for name, value in context.weights.items():
            self._weights[name].fill_(value)

    def _record(self, batch: Batch, target: Outputs | None, context: StepContext) -> None:
        device = self._learner.device
        self._graph = self._result = None  # gives back the memory of the graph before
        self._batch = Batch(batch.images.clone(), batch.labels.clone(), batch.samples.clone(), batch.view)
        self._target = None if target is None else _copied(target)
        self._weights = {
            name: torch.tensor(float(value), device=device) for name, value in context.weights.items()
        }
        static = replace(context, weights=self._weights)
        # A stream of its own: what libraries keep for a stream is then no other graph's.
        aside: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        drawn = generators(device)
        try:
            self._warm_up(aside, self._batch, static)
            self._learner.optimizer.zero_grad(set_to_none=True)
            graph = torch.cuda.CUDAGraph()
            # The outer context leaves the stream even where a refused capture does not.
            with _no_collection(), torch.cuda.stream(aside), torch.cuda.graph(graph, stream=aside):
                self._result = self._learner.step(self._batch, self._target, static)
            self._graph = graph
        finally:
            restore_generators(drawn, device)

    def _warm_up(self, aside: Any, batch: Batch, static: StepContext) -> None:
        """Some steps on a stream, of which neither weights nor averages keep anything."""
        current = torch.cuda.current_stream(self._learner.device)
        before = self._state()
        aside.wait_stream(current)
        try:
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP - 1):
                    self._learner.step(batch, self._target, static)
                with _no_waits():
                    self._learner.step(batch, self._target, static)
        finally:
            current.wait_stream(aside)
            self._put_back(before)

    def _state(self) -> dict[int, Tensor]:
        """Copies of all that a step changes, by the place of the tensor."""
        return {id(tensor): tensor.detach().clone() for tensor in self._changing()}

    def _changing(self) -> list[Tensor]:
        learner = self._learner
        modules = [learner.student] if learner.auxiliary is None else [learner.student, learner.auxiliary]
        tensors = [*learner.parameters, *(buffer for module in modules for buffer in module.buffers())]
        of_optimizer = (value for state in learner.optimizer.state.values() for value in state.values())
        return tensors + [value for value in of_optimizer if isinstance(value, Tensor)]

    @torch.no_grad()
    def _put_back(self, before: Mapping[int, Tensor]) -> None:
        """What the warm-up changed as it was; what it made, the optimiser's averages, begins at 0."""
        for tensor in self._changing():
            if id(tensor) in before:
                tensor.copy_(before[id(tensor)])
            else:
                tensor.zero_()


@contextmanager
def _no_waits() -> Iterator[None]:
    """Let what waits for the device raise a RuntimeError instead.

    A capture refuses it as well, but a refused capture is an error of the device, which torch before 2.13
    does not recover from.
    """
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from destroying another graph meanwhile, which would spoil the capture."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _tensors(outputs: Outputs) -> list[Tensor]:
    return [outputs.logits, outputs.embedding, *outputs.maps.values()]


def _shapes(outputs: Outputs) -> tuple[object, ...]:
    return (*(tensor.shape for tensor in _tensors(outputs)), *outputs.maps)


def _copied(outputs: Outputs) -> Outputs:
    maps = {name: value.clone() for name, value in outputs.maps.items()}
    return Outputs(outputs.logits.clone(), outputs.embedding.clone(), maps)
