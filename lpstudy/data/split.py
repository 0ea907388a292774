"""A split of a data set: pixels, labels and preprocessing, and the batches that they give."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from lpstudy.data.augment import augment, placement, positions, view_of
from lpstudy.data.order import WHOLE, Mixture, Order, Share, copy_to, split_batches
from lpstudy.data.pixels import Pixels
from lpstudy.outputs import Batch


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
class Split:
    """One part (training, validation, test) of a data set of n samples, and the batches that it gives."""

    pixels: Pixels
    """The images."""
    labels: Tensor
    """int64, shape (n,); NO_LABEL for an image without a label."""
    preprocessing: Preprocessing
    mixture: Mixture | None = None
    """The kinds of samples in a batch; None where all samples have labels."""

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.labels)

    @property
    def views(self) -> int:
        """The number of views of each sample in use, one in each epoch."""
        return self.preprocessing.views

    def view(self, order: Order) -> int:
        """The view that an epoch shows."""
        return view_of(seed=order.seed, epoch=order.epoch, count=self.views)

    @property
    def labelled(self) -> int:
        """The number of samples with a label."""
        return len(self) if self.mixture is None else self.mixture.labelled

    def steps(self, batch_size: int) -> int:
        """The number of batches of an epoch."""
        if self.mixture is None:
            return max(1, len(self) // batch_size)
        return self.mixture.steps(len(self), batch_size)

    def batch_length(self, batch_size: int) -> int:
        """The number of images in a batch, over all workers."""
        if self.mixture is None:
            return min(batch_size, len(self))
        return self.mixture.batch_length(len(self), batch_size)

    def labelled_alone(self) -> "Split":
        """The same split whose batches have their labelled part alone; this one where all have labels."""
        if self.mixture is None:
            return self
        return replace(self, mixture=replace(self.mixture, skips_unlabelled=True))

    def epoch(
        self, order: Order, *, device: torch.device, share: Share = WHOLE, first_batch: int = 0
    ) -> Iterator[Batch]:
        """Batches in shuffled order, augmented.

        Args:
            order: Seed, epoch and batch size; seed and epoch alone determine the order and the view.
            device: Where the batches are made.
            share: The worker's part of every batch.
            first_batch: The number of batches to skip at the start without reading them.

        Raises:
            ValueError: The workers cannot share a batch equally; while it runs: an image cannot be read.
        """
        batches = order.batches(len(self), share, self.mixture)
        return self._one_view(self.view(order), batches[first_batch:], device)

    def batches(
        self, *, batch_size: int, device: torch.device, chunk_size: int | None = None
    ) -> Iterator[Batch]:
        """All samples in order, not augmented; the last batch may be short.

        Args:
            batch_size: Samples of a batch.
            device: Where the batches are made.
            chunk_size: Split each batch into the fewest even parts of at most this many samples.

        Raises:
            ValueError: While it runs: an image cannot be read.
        """
        return (
            self.preprocessing.plain_batch(images, self.labels[samples], samples, device)
            for samples, images in self._read(split_batches(torch.arange(len(self)), batch_size, chunk_size))
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
        """One view of some samples, int64 on the CPU, one-dimensional, in their order; see `batches`."""
        return self._one_view(view, split_batches(samples, batch_size, chunk_size), device)

    def with_views(self, views: int) -> "Split":
        """The same split with this number of views of each sample.

        Raises:
            ValueError: The number is below 1 or above that of the distinct views.
        """
        return replace(self, preprocessing=self.preprocessing.with_views(views))

    def to(self, device: torch.device) -> "Split":
        """The same split on a device, with its images where they can be moved."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def _one_view(self, view: int, batches: Sequence[Tensor], device: torch.device) -> Iterator[Batch]:
        return (
            self.preprocessing.augmented_batch(images, self.labels[samples], samples, view, device)
            for samples, images in self._read(batches)
        )

    def _read(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """The samples of each batch, on the device of the labels, and their images."""
        return zip(copy_to(batches, self.labels.device), self.pixels.read(batches), strict=True)
