"""The samples of each batch: the shuffled order of an epoch and its shares, and batches in order."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lpstudy.sample_hash import hash64


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
class Mixture:
    """Labelled and unlabelled images in one batch, each kind with a fixed share of it.

    The first samples of the split are the labelled ones. Each kind has an order of its own, which starts
    again where it ends: an epoch shows all images of one kind at least once, but for a rest below a batch.
    """

    labelled: int
    """The number of labelled samples, at least 1."""
    fraction: float
    """The share of a batch that has labels, in (0, 1)."""
    skips_unlabelled: bool = False
    """Whether a batch has its labelled part alone, for a method that learns from labels only. It then has as
    many steps and as many labelled images as every other method."""

    def part(self, batch_size: int) -> int:
        """The number of labelled images in a batch."""
        return min(max(1, round(batch_size * self.fraction)), batch_size - 1, self.labelled)

    def steps(self, samples: int, batch_size: int) -> int:
        """The number of batches of an epoch over a split of so many samples."""
        labelled = self.part(batch_size)
        return max(1, (samples - self.labelled) // (batch_size - labelled), self.labelled // labelled)

    def batch_length(self, samples: int, batch_size: int) -> int:
        """The number of images in a batch."""
        labelled = self.part(batch_size)
        unlabelled = min(batch_size - labelled, samples - self.labelled)
        return labelled if self.skips_unlabelled else labelled + unlabelled


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

    def batches(self, samples: int, share: Share = WHOLE, mixture: Mixture | None = None) -> list[Tensor]:
        """A worker's share of every batch; a short last batch is dropped unless it is the only one.

        Args:
            samples: The number of samples of the split.
            share: The worker's part of each batch.
            mixture: The kinds of samples; None where all have labels.

        Returns:
            Positions within the split, int64 on the CPU, one tensor for each batch; the labelled ones first.

        Raises:
            ValueError: The workers cannot share a batch equally.
        """
        workers = share.workers
        if self.batch_size % workers:
            raise ValueError(
                f"batch_size must be divisible by the {workers} workers but got {self.batch_size}"
            )
        if mixture is not None:
            return self._mixed_batches(samples, share, mixture)
        batches = torch.split(self._permutation(samples), self.batch_size)
        if len(batches) > 1 and len(batches[-1]) < self.batch_size:
            batches = batches[:-1]
        if len(batches[-1]) % workers:
            raise ValueError(
                f"{workers} workers cannot share a last batch of {len(batches[-1])} samples equally:"
                f" batch_size is {self.batch_size}, the split has {samples} samples"
            )
        return [share.of(batch) for batch in batches]

    def _permutation(self, samples: int, *keys: int) -> Tensor:
        """All positions in the order of the seed, the epoch and the keys."""
        key = hash64(torch.tensor([self.epoch]), self.seed, *keys)
        return torch.randperm(samples, generator=torch.Generator().manual_seed(int(key)))

    def _mixed_batches(self, samples: int, share: Share, mixture: Mixture) -> list[Tensor]:
        """Batches of labelled samples and, unless they are skipped, of unlabelled ones."""
        steps, labelled = mixture.steps(samples, self.batch_size), mixture.part(self.batch_size)
        unlabelled = min(self.batch_size - labelled, samples - mixture.labelled)
        for name, count in (("labelled", labelled), ("unlabelled", unlabelled)):
            if count % share.workers:
                raise ValueError(
                    f"{share.workers} workers cannot share the {count} {name} images of a batch equally:"
                    f" batch_size is {self.batch_size}, labelled_fraction {mixture.fraction:g}"
                )
        parts = [self._cycle(mixture.labelled, steps, labelled, kind=1)]
        if not mixture.skips_unlabelled:
            others = self._cycle(samples - mixture.labelled, steps, unlabelled, kind=2)
            parts.append([mixture.labelled + batch for batch in others])
        return [torch.cat([share.of(part) for part in batch]) for batch in zip(*parts, strict=True)]

    def _cycle(self, samples: int, steps: int, size: int, *, kind: int) -> list[Tensor]:
        """Batches of one kind: permutations of its samples, one after the other."""
        turns = -(-steps * size // samples)
        order = torch.cat([self._permutation(samples, kind, turn) for turn in range(turns)])
        return [*torch.split(order[: steps * size], size)]


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
