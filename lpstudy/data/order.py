"""The samples of each batch: the shuffled order of an epoch and its shares, and batches in order."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lpstudy.data.augment import hash64


@dataclass(frozen=True, slots=True)
class Share:
    """One worker's equal part of every batch; the parts in order of the ranks are the whole batch.

    Raises:
        ValueError: The rank is out of range.
    """

    rank: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.workers:
            raise ValueError(
                f"rank must lie in [0, {self.workers}), the number of workers, but got {self.rank}"
            )

    def of(self, batch: Tensor) -> Tensor:
        """This worker's part of a batch whose size the number of workers divides."""
        size = len(batch) // self.workers
        return batch[self.rank * size : (self.rank + 1) * size]


WHOLE = Share()
"""The share of a single worker: every batch as it is."""


@dataclass(frozen=True, slots=True)
class Order:
    """The shuffled order of one epoch, which (seed, epoch) alone determine, cut into batches.

    Raises:
        ValueError: The batch size is not positive.
    """

    seed: int
    """The trial's seed."""
    epoch: int
    """The epoch, counted from 1."""
    batch_size: int
    """Samples of a batch over all workers."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1 but got {self.batch_size}")

    def batches(self, samples: int, share: Share = WHOLE) -> list[Tensor]:
        """A worker's share of every batch; a short last batch is dropped unless it is the only one.

        Args:
            samples: The number of samples of the split.
            share: The worker's part of each batch.

        Returns:
            Positions within the split, int64 on the CPU, one tensor for each batch.

        Raises:
            ValueError: The workers cannot share a batch equally.
        """
        workers = share.workers
        if self.batch_size % workers:
            raise ValueError(
                f"batch_size must be divisible by the {workers} workers but got {self.batch_size}"
            )
        key = hash64(torch.tensor([self.epoch]), self.seed)
        order = torch.randperm(samples, generator=torch.Generator().manual_seed(int(key)))
        batches = torch.split(order, self.batch_size)
        if len(batches) > 1 and len(batches[-1]) < self.batch_size:
            batches = batches[:-1]
        if len(batches[-1]) % workers:
            raise ValueError(
                f"{workers} workers cannot share a last batch of {len(batches[-1])} samples equally:"
                f" batch_size is {self.batch_size}, the split has {samples} samples"
            )
        return [share.of(batch) for batch in batches]


def split_batches(samples: Tensor, batch_size: int, chunk_size: int | None = None) -> list[Tensor]:
    """Split samples into batches, and batches into the fewest even parts of at most `chunk_size` samples."""
    limit = min(chunk_size or batch_size, batch_size)
    return [
        part
        for batch in torch.split(samples, batch_size)
        for part in torch.tensor_split(batch, max(1, -(-len(batch) // limit)))
    ]


def copy_to(batches: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """The batches on a device, copied at once: a copy of each would cost as much as its work there."""
    if device.type == "cpu" or not batches:
        return batches
    return torch.split(torch.cat([*batches]).to(device), [len(batch) for batch in batches])
