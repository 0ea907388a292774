"""The samples of a batch: the shuffled order of an epoch, and batches in order."""

import torch
from torch import Tensor

from lpstudy.data.augment import hash64

CPU = torch.device("cpu")


def shuffled_shares(
    size: int,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    drop_last: bool,
    rank: int,
    workers: int,
    device: torch.device = CPU,
) -> list[Tensor]:
    """A worker's share of every batch of a shuffled epoch: positions within the split, int64, on the device.

    Raises:
        ValueError: batch_size is not positive, rank is out of range, or a batch cannot be shared equally.
    """
    _check_sharing(batch_size, rank, workers)
    key = hash64(torch.tensor([epoch]), seed)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(int(key)))
    shares = []
    for batch in torch.split(order.to(device), batch_size):
        if len(batch) < batch_size:
            if drop_last and size > batch_size:
                continue
            if len(batch) % workers:
                raise ValueError(
                    f"{workers} workers cannot share a last batch of {len(batch)} samples equally:"
                    f" batch_size is {batch_size}, the split has {size} samples"
                )
        share = len(batch) // workers
        shares.append(batch[rank * share : (rank + 1) * share])
    return shares


def split_batches(samples: Tensor, batch_size: int, chunk_size: int | None = None) -> list[Tensor]:
    """Split samples into batches, and batches into the fewest even parts of at most `chunk_size` samples."""
    limit = min(chunk_size or batch_size, batch_size)
    return [
        part
        for batch in torch.split(samples, batch_size)
        for part in torch.tensor_split(batch, max(1, -(-len(batch) // limit)))
    ]


def _check_sharing(batch_size: int, rank: int, workers: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1 but got {batch_size}")
    if not 0 <= rank < workers:
        raise ValueError(f"rank must lie in [0, {workers}), the number of workers, but got {rank}")
    if batch_size % workers:
        raise ValueError(f"batch_size must be divisible by the {workers} workers but got {batch_size}")
