"""A CUDA graph replayed on the CPU: the operators of a step on the same tensors in the same order.

What a capture makes constant is constant here too: Python's numbers, and where the tensors lie. What waits
for the device is refused, as by a capture, and nothing that is recorded happens.
"""

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "is_nonzero",
    "equal",
    "lift_fresh",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "repeat_interleave",
)
"""Operators for which the host waits for a GPU: of `lift_fresh`, for a number on its way there."""
FREE = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided", "detach", "_unsafe_view")
"""Operators that launch nothing."""


def tensors(*values: object) -> Iterator[Tensor]:
    return (value for value in tree_leaves(values) if isinstance(value, Tensor))


def name_of(func: Any) -> str:
    return str(func._schema.name).partition("::")[2]


def waits(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether the host waits for a GPU; a mask as an index is one whose size it must know."""
    masks = name_of(func) in ("index", "index_put_") and any(t.dtype == torch.bool for t in tensors(args[1:]))
    return masks or name_of(func) in WAITS


class NoWaits(TorchDispatchMode):
    """A context that raises where the host waits, like torch's `set_sync_debug_mode("error")`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if waits(func, args):
            raise RuntimeError(f"called a synchronizing CUDA operation: {name_of(func)}")
        return func(*args, **(kwargs or {}))


class Launches(TorchDispatchMode):
    """Counts the launches on a GPU and the waits of the host; a replayed tape is one launch."""

    def __init__(self) -> None:
        super().__init__()
        self.launched: list[str] = []
        self.waited: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not Tape.replaying:
            self._note(func, args, result)
        return result

    def _note(self, func: Any, args: Any, result: Any) -> None:
        if waits(func, args):
            self.waited.append(name_of(func))
        returns = func._schema.returns
        view = any(value.alias_info is not None and not value.alias_info.is_write for value in returns)
        nothing = not any(value.numel() for value in tensors(result)) and not func._schema.is_mutable
        if not view and not nothing and name_of(func) not in FREE:
            self.launched.append(name_of(func))


class Tape(TorchDispatchMode):
    """A replacement of `torch.cuda.CUDAGraph`."""

    replaying = recording = False
    recordings = 0
    """The number of recordings so far."""
    collected: ClassVar[list[bool]] = []
    """Whether the garbage collector was on in them."""
    streams: ClassVar[list[object]] = []

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self._own: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if waits(func, args):
            raise RuntimeError(f"operation not permitted when stream is capturing: {name_of(func)}")
        for tensor in tensors(args, kwargs):
            storage = tensor.untyped_storage()
            if (place := storage.data_ptr()) not in self._own and place not in self._before:
                self._before[place] = (storage, storage.clone())
        result = func(*args, **(kwargs or {}))
        places = {tensor.untyped_storage().data_ptr() for tensor in tensors(result)}
        self._own |= places - self._before.keys()
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def undo(self) -> None:
        for storage, before in self._before.values():
            storage.copy_(before)

    def replay(self) -> None:
        Tape.replaying = True
        try:
            with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
                for func, args, kwargs, result in self.calls:
                    again = func(*args, **kwargs)
                    for first, other in zip(tensors(result), tensors(again), strict=True):
                        if first.data_ptr() != other.data_ptr():  # views and writes in place share memory
                            first.copy_(other)
        finally:
            Tape.replaying = False


@contextmanager
def _recording(tape: Tape, *, stream: object) -> Iterator[None]:
    Tape.recordings += 1
    Tape.collected.append(gc.isenabled())
    Tape.streams.append(stream)
    drawn = torch.get_rng_state()
    Tape.recording = True
    try:
        with tape:
            yield
    finally:
        Tape.recording = False
        torch.set_rng_state(drawn)
        tape.undo()


class _Stream:
    def __init__(self, device: torch.device | None = None) -> None:
        pass

    def wait_stream(self, other: "_Stream") -> None:
        pass


def _on(stream: _Stream) -> AbstractContextManager[None]:
    return nullcontext()


def on_the_cpu(patch: pytest.MonkeyPatch) -> None:
    """Have `torch.cuda` record tapes."""
    errors_as_bad_input: list[NoWaits] = []

    def set_mode(mode: str | int) -> None:
        if mode in ("error", 2):
            errors_as_bad_input.append(NoWaits())
            errors_as_bad_input[-1].__enter__()
        elif errors_as_bad_input:
            errors_as_bad_input.pop().__exit__(None, None, None)

    Tape.recordings = 0
    Tape.collected.clear()
    Tape.streams.clear()
    patch.setattr(torch.cuda, "Stream", _Stream)
    patch.setattr(torch.cuda, "current_stream", _Stream)
    patch.setattr(torch.cuda, "stream", _on)
    patch.setattr(torch.cuda, "CUDAGraph", Tape)
    patch.setattr(torch.cuda, "graph", _recording)
    patch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 2 * bool(errors_as_bad_input))
    patch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
