"""Checkpoints within a long epoch: its state between two steps, and polling for checkpoints and stops."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lpstudy.sample_hash import hash64
from lpstudy.training import parallel
from lpstudy.training.directive import Directive, Poll

POLL_SECONDS = 1.0
"""Seconds between two polls within an epoch."""
DROPOUT = 1
"""Hash key by which an epoch's dropout does not depend on the order of its batches."""
MAX_STEPS = 100
"""Most steps between two polls of several workers."""


class EpochAbandonedError(Exception):
    """A directive stopped the run in the middle of an epoch."""


@dataclass(frozen=True, slots=True)
class PartialEpoch:
    """The state of an epoch in progress, except networks and optimiser."""

    step: int
    """The number of completed steps."""
    images_seen: int
    """The number of images in these steps, over all workers."""
    seconds: float
    metrics: Mapping[str, float]
    """Metrics of its first step."""
    sums: Mapping[str, Tensor]
    """Sums of the loss's terms over the steps; means over the workers."""
    random: Mapping[str, Tensor]
    """States of the random generators of dropout."""


AfterStep = Callable[[Callable[[], PartialEpoch]], None]
"""A function called after a step with a maker of the `PartialEpoch`; may raise an `EpochAbandonedError`."""


def do_nothing(make_partial_epoch: Callable[[], PartialEpoch]) -> None:
    """The `AfterStep` of an epoch without checkpoints."""


def generators(device: torch.device) -> dict[str, Tensor]:
    """The states of the global random generators."""
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_generators(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Restore the states of the global random generators."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def dropout_seed(seed: int, epoch: int) -> int:
    """The seed of an epoch's dropout: 64 bits of the trial's seed and the epoch."""
    return int(hash64(torch.tensor(epoch), seed, DROPOUT))


@contextmanager
def temporary_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global random generators within the context; restore them afterwards."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class CheckpointPoller:
    """Polls within an epoch for directives, and adds checkpoints that are due.

    Args:
        poll: See `train`.
        seconds: Seconds between two checkpoints.
    """

    def __init__(self, poll: Poll, seconds: float) -> None:
        self._asking, self._seconds = poll, seconds
        self.last_saved = self._poll_time = self._pace_time = time.monotonic()
        """Start time of the last checkpoint."""
        self._steps = self._remaining = 1

    @property
    def is_due(self) -> bool:
        """Whether a checkpoint is due."""
        return time.monotonic() - self.last_saved >= self._seconds

    def __call__(self) -> Directive:
        """The directive after a step, the same on all workers."""
        if parallel.world_size() == 1:
            return self._poll_at_intervals()
        self._remaining -= 1
        if self._remaining:
            return Directive.CONTINUE
        directive = parallel.agree(self._poll_at_intervals)
        self._steps = self._remaining = parallel.broadcast(self._steps_between_polls())
        return directive

    def _poll_at_intervals(self) -> Directive:
        now = time.monotonic()
        if now - self._poll_time < POLL_SECONDS:
            return Directive.CONTINUE
        self._poll_time = now
        ask = self._asking()
        return Directive.CHECKPOINT if ask is Directive.CONTINUE and self.is_due else ask

    def _steps_between_polls(self) -> int:
        """The number of steps between two polls at the speed of the last steps."""
        now = time.monotonic()
        seconds, self._pace_time = now - self._pace_time, now
        return max(1, min(MAX_STEPS, round(self._steps * POLL_SECONDS / max(seconds, 1e-9))))
