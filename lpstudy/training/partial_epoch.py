"""An epoch that takes long: its state between two steps, and who looks whether it is to be kept or left."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lpstudy.training import parallel
from lpstudy.training.directive import Directive, Poll

PACE = 1.0
"""Seconds between two looks within an epoch."""
MOST = 100
"""Steps between two looks of several workers, at most."""


class EpochAbandonedError(Exception):
    """The run was told to end in the middle of an epoch."""


@dataclass(frozen=True, slots=True)
class PartialEpoch:
    """How far an epoch is, and what of it no network and no optimiser holds."""

    step: int
    """How many of its steps are done."""
    images_seen: int
    """Images, of all workers."""
    seconds: float
    metrics: Mapping[str, float]
    """Of its first step."""
    sums: Mapping[str, Tensor]
    """Of the loss's terms, over the steps; means of the workers'."""
    random: Mapping[str, Tensor]
    """States of the generators that dropout draws from."""


AfterStep = Callable[[Callable[[], PartialEpoch]], None]
"""Called after a step with what makes a part of the epoch so far; may raise a LeftError."""


def do_nothing(part: Callable[[], PartialEpoch]) -> None:
    """Between two steps of an epoch that is not to be kept or left."""


def generators(device: torch.device) -> dict[str, Tensor]:
    """The states of the global generators."""
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_generators(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Put them back."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


@contextmanager
def temporary_seed(seed: int, device: torch.device) -> Iterator[None]:
    """A seed for what draws from the global generators, which are left as they were."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class CheckpointPoller:
    """Asks, now and then within an epoch, whether to end, and whether a checkpoint is due.

    Args:
        poll: See `train`.
        seconds: Between two checkpoints.
    """

    def __init__(self, poll: Poll, seconds: float) -> None:
        self._asking, self._seconds = poll, seconds
        self.last_saved = self._looked = self._counted = time.monotonic()
        """When the last checkpoint was begun."""
        self._steps = self._left = 1

    @property
    def is_due(self) -> bool:
        """Whether a checkpoint is."""
        return time.monotonic() - self.last_saved >= self._seconds

    def __call__(self) -> Directive:
        """After each step; the same for all workers, who agree now and then."""
        if parallel.world_size() == 1:
            return self._look()
        self._left -= 1
        if self._left:
            return Directive.CONTINUE
        ask = parallel.agree(self._look)
        self._steps = self._left = parallel.broadcast(self._pace())
        return ask

    def _look(self) -> Directive:
        now = time.monotonic()
        if now - self._looked < PACE:
            return Directive.CONTINUE
        self._looked = now
        ask = self._asking()
        return Directive.CHECKPOINT if ask is Directive.CONTINUE and self.is_due else ask

    def _pace(self) -> int:
        """How many steps are done in the time between two looks, as the last ones went."""
        now = time.monotonic()
        taken, self._counted = now - self._counted, now
        return max(1, min(MOST, round(self._steps * PACE / max(taken, 1e-9))))
