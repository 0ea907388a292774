"""The splits of a data set, and the batches that they give."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol, Self

import torch
from torch import Tensor

from lpstudy.data.augment import augment, placement, positions, view_of
from lpstudy.data.order import shuffled_shares, split_batches
from lpstudy.outputs import Batch


class Split(Protocol):
    """One part (training, validation, test) of a data set of n samples."""

    @property
    def labels(self) -> Tensor:
        """The labels, int64, shape (n,)."""
        ...

    @property
    def views(self) -> int:
        """The number of views of each sample in use, one in each epoch."""
        ...

    def __len__(self) -> int:
        """The number of samples."""
        ...

    def epoch(
        self,
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        device: torch.device,
        drop_last: bool = True,
        rank: int = 0,
        workers: int = 1,
        begin: int = 0,
    ) -> Iterator[Batch]:
        """Batches in shuffled order, augmented; (seed, epoch) alone determine the order and the view.

        Args:
            batch_size: Samples of a batch over all workers.
            seed: The trial's seed.
            epoch: The epoch, counted from 1.
            device: Where the batches are made.
            drop_last: Drop a short last batch, unless it is the only one.
            rank: The worker. It gets its own part of every batch; concatenated in order of the ranks, the
                parts are the batch of a single worker.
            workers: How many workers share a batch, equally.
            begin: The number of batches to skip at the start without reading them.

        Raises:
            ValueError: The workers cannot share a batch equally.
        """
        ...

    def batches(
        self, *, batch_size: int, device: torch.device, chunk_size: int | None = None
    ) -> Iterator[Batch]:
        """All samples in order, not augmented; the last batch may be short.

        Args:
            batch_size: Samples of a batch.
            device: Where the batches are made.
            chunk_size: Split each batch into the fewest even parts of at most this many samples.
        """
        ...

    def one_view(
        self,
        view: int,
        samples: Tensor,
        *,
        batch_size: int,
        device: torch.device,
        chunk_size: int | None = None,
    ) -> Iterator[Batch]:
        """One view of some samples, int64, one-dimensional, in their order; otherwise as `batches`."""
        ...

    def with_views(self, views: int) -> Self:
        """The same split with this number of views of each sample.

        Raises:
            ValueError: The number is below 1 or above that of the distinct views.
        """
        ...

    def to(self, device: torch.device) -> Self:
        """The same split, with its images on a device where its kind allows it."""
        ...


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The conversion of uint8 images to the batches of a network."""

    mean: tuple[float, ...]
    """Mean per channel of pixels in [0, 1]."""
    std: tuple[float, ...]
    """Standard deviation per channel of pixels in [0, 1]."""
    pad: int = 0
    flip: bool = False
    seed: int = 0
    """The data's seed, which determines the crop and flip of a sample's view."""
    view_limit: int | None = None
    """The number of views in use; None: all."""

    @property
    def views(self) -> int:
        """The number of views of each sample in use."""
        return positions(self.pad, self.flip) if self.view_limit is None else self.view_limit

    def with_views(self, views: int) -> "Preprocessing":
        """The same preprocessing with this number of views.

        Raises:
            ValueError: The number is below 1 or above that of the distinct views.
        """
        limit = positions(self.pad, self.flip)
        if not 1 <= views <= limit:
            raise ValueError(f"views must lie in [1, {limit}] but is {views}")
        return replace(self, view_limit=views)

    def view(self, *, seed: int, epoch: int) -> int:
        """The view of an epoch."""
        return view_of(seed=seed, epoch=epoch, count=self.views)

    def augmented_batch(
        self, images: Tensor, labels: Tensor, samples: Tensor, view: int, device: torch.device
    ) -> Batch:
        """The batch of this view of uint8 images of shape (m, channels, height, width)."""
        images = _to_device(images, device)
        if positions(self.pad, self.flip) > 1:
            crops_and_flips = placement(samples, view, pad=self.pad, flip=self.flip, seed=self.seed)
            dy, dx, flips = (value.to(device, non_blocking=True) for value in crops_and_flips)
            images = augment(images, dy, dx, flips, self.pad)
        return self._batch(images, labels, samples, view, device)

    def plain_batch(self, images: Tensor, labels: Tensor, samples: Tensor, device: torch.device) -> Batch:
        """The batch of uint8 images without augmentation, view 0."""
        return self._batch(_to_device(images, device), labels, samples, 0, device)

    def _batch(
        self, images: Tensor, labels: Tensor, samples: Tensor, view: int, device: torch.device
    ) -> Batch:
        scale, offset = _normalisation(self.mean, self.std, device)
        pixels = images.to(torch.float32).mul_(scale).sub_(offset)
        return Batch(
            pixels,
            labels.to(device, non_blocking=True),
            samples.to(device, non_blocking=True),
            view,
        )


def _to_device(images: Tensor, device: torch.device) -> Tensor:
    """Copy images to the device; from pinned memory to a GPU, which copies while it computes."""
    if device.type == "cuda" and images.device.type == "cpu":
        images = images.pin_memory()
    return images.to(device, non_blocking=True)


@cache
def _normalisation(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """The factor of the pixels and the offset subtracted then; both of shape (channels, 1, 1)."""
    means = torch.tensor(mean, device=device).view(-1, 1, 1)
    stds = torch.tensor(std, device=device).view(-1, 1, 1)
    return 1.0 / (255.0 * stds), means / stds


@dataclass(frozen=True, eq=False, slots=True)
class ArraySplit:
    """A split with its decoded images in one array, in memory or mapped into it from disk."""

    images: Tensor
    """uint8, shape (all, channels, height, width)."""
    rows: Tensor
    """Positions of this split's images, int64, shape (n,)."""
    labels: Tensor
    """int64, shape (n,)."""
    preprocessing: Preprocessing

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.rows)

    @property
    def views(self) -> int:
        """The number of views of each sample in use."""
        return self.preprocessing.views

    def epoch(
        self,
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        device: torch.device,
        drop_last: bool = True,
        rank: int = 0,
        workers: int = 1,
        begin: int = 0,
    ) -> Iterator[Batch]:
        """Batches in shuffled order, augmented: see `Split.epoch`."""
        shares = shuffled_shares(
            len(self),
            batch_size=batch_size,
            seed=seed,
            epoch=epoch,
            drop_last=drop_last,
            rank=rank,
            workers=workers,
            device=self.images.device,
        )
        return self._one_view(self.preprocessing.view(seed=seed, epoch=epoch), shares[begin:], device)

    def batches(
        self, *, batch_size: int, device: torch.device, chunk_size: int | None = None
    ) -> Iterator[Batch]:
        """All samples in order, not augmented: see `Split.batches`."""
        all_samples = torch.arange(len(self), device=self.images.device)
        return (
            self.preprocessing.plain_batch(self._pixels(samples), self.labels[samples], samples, device)
            for samples in split_batches(all_samples, batch_size, chunk_size)
        )

    def one_view(
        self,
        view: int,
        samples: Tensor,
        *,
        batch_size: int,
        device: torch.device,
        chunk_size: int | None = None,
    ) -> Iterator[Batch]:
        """One view of some samples, in their order: see `Split.one_view`."""
        return self._one_view(
            view, split_batches(samples.to(self.images.device), batch_size, chunk_size), device
        )

    def with_views(self, views: int) -> "ArraySplit":
        """The same split with this number of views of each sample: see `Split.with_views`."""
        return replace(self, preprocessing=self.preprocessing.with_views(views))

    def to(self, device: torch.device) -> "ArraySplit":
        """The same split with its images on a device; on the CPU, this split."""
        if device.type in ("cpu", self.images.device.type):
            return self
        images = self.images.index_select(0, self.rows).to(device)
        rows = torch.arange(len(self), device=device)
        return replace(self, images=images, rows=rows, labels=self.labels.to(device))

    def _one_view(self, view: int, shares: Iterable[Tensor], device: torch.device) -> Iterator[Batch]:
        return (
            self.preprocessing.augmented_batch(
                self._pixels(samples), self.labels[samples], samples, view, device
            )
            for samples in shares
        )

    def _pixels(self, samples: Tensor) -> Tensor:
        # index_select copies whole images, 15 times as fast as indexing with brackets.
        return self.images.index_select(0, self.rows[samples])
