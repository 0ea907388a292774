"""A split of a data set: pixels, labels and preprocessing, and the batches that they give."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lpstudy.data.augment import view_of
from lpstudy.data.order import WHOLE, Mixture, Order, Share, copy_to, split_batches
from lpstudy.data.pixels import CroppedPixels, Pixels
from lpstudy.data.preprocessing import Preprocessing, Rows
from lpstudy.outputs import Batch


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
        """Batches in shuffled order, augmented and mixed.

        Args:
            order: Seed, epoch and batch size; seed and epoch alone determine order, view and mixture.
            device: Where the batches are made.
            share: The worker's part of every batch.
            first_batch: The number of batches to skip at the start without reading them.

        Raises:
            ValueError: The workers cannot share a batch equally; while it runs: an image cannot be read.
        """
        batches = order.batches(len(self), share, self.mixture)
        epoch_batches = self._one_view(self.view(order), batches[first_batch:], device)
        mixing = self.preprocessing.mixing
        if mixing is None:
            return epoch_batches
        return (
            mixing.mix(batch, order, number) for number, batch in enumerate(epoch_batches, start=first_batch)
        )

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
        copies = copy_to(batches, self.labels.device)
        rows = (Rows(*pair) for pair in zip(batches, copies, strict=True))
        return (
            self.preprocessing.augmented_batch(images, self.labels[samples.copy], samples, view, device)
            for samples, images in zip(rows, self._images(view, batches), strict=True)
        )

    def _images(self, view: int, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """The images of each batch, as crops of the view where they are of random size."""
        crops = self.preprocessing.crops(view)
        if crops is None:
            return self.pixels.read(batches)
        if isinstance(self.pixels, CroppedPixels):
            return self.pixels.read_crops(batches, crops)
        images = self.pixels.read(batches)
        return (crops.cut(each, samples) for each, samples in zip(images, batches, strict=True))

    def _read(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """The samples of each batch, on the device of the labels, and their images."""
        return zip(copy_to(batches, self.labels.device), self.pixels.read(batches), strict=True)
