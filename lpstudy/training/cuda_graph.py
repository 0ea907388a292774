"""A training step as a CUDA graph: recorded once and replayed, one launch instead of some two hundred.

Source: PyTorch, "CUDA graphs", section "Whole-network capture".
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lpstudy.methods import StepContext
from lpstudy.one_line import one_line
from lpstudy.outputs import Batch, Outputs, Partners
from lpstudy.training.memory import memory_error
from lpstudy.training.partial_epoch import generators, restore_generators
from lpstudy.training.step import Learner

WARM_UP = 3
"""Steps before the recording, in which libraries choose their kernels; their effects and random numbers are
undone."""


class RecordedStep:
    """`Learner.step` as a CUDA graph, recorded when the shapes or the terms change and replayed at each call.

    Everything that changes from step to step is in tensors with a fixed address: the batch, the teacher's
    outputs, the weights of the loss's terms and the learning rate. A step that cannot be recorded, such as
    one that waits for the device, runs without a graph.
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
        """The reason why steps are not recorded; None where they are."""

    def __call__(
        self, batch: Batch, target: Outputs | None, context: StepContext
    ) -> tuple[Mapping[str, Tensor], Outputs]:
        """See `Learner.step`; the next call overwrites the result."""
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
                self.refusal = one_line(error, 200)
                return self._learner.step(batch, target, context)
        self._fill(batch, target, context)
        self._graph.replay()
        if self._result is None:
            raise RuntimeError("a step was replayed before it was recorded")
        return self._result

    def _fill(self, batch: Batch, target: Outputs | None, context: StepContext) -> None:
        if self._batch is not None:
            self._batch.images.copy_(batch.images)
            self._batch.labels.copy_(batch.labels)
            if self._learner.method.reads_samples:
                self._batch.samples.copy_(batch.samples)
            if self._batch.partners is not None and batch.partners is not None:
                self._batch.partners.labels.copy_(batch.partners.labels)
                self._batch.partners.own_share.copy_(batch.partners.own_share)
        if self._target is not None and target is not None:
            for static_step, current in zip(_tensors(self._target), _tensors(target), strict=True):
                static_step.copy_(current)
        for name, value in context.weights.items():
            self._weights[name].fill_(value)

    def _record(self, batch: Batch, target: Outputs | None, context: StepContext) -> None:
        device = self._learner.device
        self._graph = self._result = None  # frees the memory of the earlier graph
        self._batch = _copy_batch(batch)
        self._target = None if target is None else _copy(target)
        self._weights = {
            name: torch.tensor(float(value), device=device) for name, value in context.weights.items()
        }
        static_step = replace(context, weights=self._weights)
        # A separate stream: what libraries keep for a stream is then not shared with another graph.
        stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        generator_states = generators(device)
        try:
            self._warm_up(stream, self._batch, static_step)
            self._learner.optimizer.zero_grad(set_to_none=True)
            graph = torch.cuda.CUDAGraph()
            # The outer context leaves the stream even where a failed capture does not.
            with _no_collection(), torch.cuda.stream(stream), torch.cuda.graph(graph, stream=stream):
                self._result = self._learner.step(self._batch, self._target, static_step)
            self._graph = graph
        finally:
            restore_generators(generator_states, device)

    def _warm_up(self, stream: Any, batch: Batch, static_step: StepContext) -> None:
        """Run some steps on a stream, then restore weights and averages."""
        current = torch.cuda.current_stream(self._learner.device)
        state = self._state()
        stream.wait_stream(current)
        try:
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP - 1):
                    self._learner.step(batch, self._target, static_step)
                with _no_waits():
                    self._learner.step(batch, self._target, static_step)
        finally:
            current.wait_stream(stream)
            self._restore_state(state)

    def _state(self) -> dict[int, Tensor]:
        """Copies of all tensors that a step changes, by their identity."""
        return {id(tensor): tensor.detach().clone() for tensor in self._changing_tensors()}

    def _changing_tensors(self) -> list[Tensor]:
        learner = self._learner
        buffers = (buffer for module in learner.modules.values() for buffer in module.buffers())
        tensors = [*learner.parameters, *buffers]
        optimizer_values = (value for state in learner.optimizer.state.values() for value in state.values())
        return tensors + [value for value in optimizer_values if isinstance(value, Tensor)]

    @torch.no_grad()
    def _restore_state(self, state: Mapping[int, Tensor]) -> None:
        """Restore what the warm-up changed; set tensors that it created, the optimiser's averages, to 0."""
        for tensor in self._changing_tensors():
            if id(tensor) in state:
                tensor.copy_(state[id(tensor)])
            else:
                tensor.zero_()


@contextmanager
def _no_waits() -> Iterator[None]:
    """Raise a RuntimeError from any call that waits for the device.

    A capture refuses such calls as well, but torch before 2.13 does not recover from a failed capture.
    """
    previous = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(previous)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Stop the garbage collector, which would spoil the capture by destroying another graph."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _tensors(outputs: Outputs) -> list[Tensor]:
    return [outputs.logits, outputs.embedding, *outputs.maps.values()]


def _shapes(outputs: Outputs) -> tuple[object, ...]:
    return (*(tensor.shape for tensor in _tensors(outputs)), *outputs.maps)


def _copy_batch(batch: Batch) -> Batch:
    partners = batch.partners
    if partners is not None:
        partners = Partners(partners.labels.clone(), partners.own_share.clone())
    return Batch(batch.images.clone(), batch.labels.clone(), batch.samples.clone(), batch.view, partners)


def _copy(outputs: Outputs) -> Outputs:
    maps = {name: value.clone() for name, value in outputs.maps.items()}
    return Outputs(outputs.logits.clone(), outputs.embedding.clone(), maps)
