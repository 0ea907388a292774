"""The images of a split: the protocol `Pixels`, and images in one array."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lpstudy.data.order import copy_to
from lpstudy.data.resized_crop import ViewCrops
from lpstudy.data.stream import StreamPixels


class Pixels(Protocol):
    """The images of a split's n samples, uint8, all of one shape (channels, height, width)."""

    def read(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Read the images of one batch after the other.

        A slow source may decode ahead: it knows the batches that follow.

        Args:
            batches: Positions of samples in [0, n), int64 on the CPU; one tensor for each batch.

        Returns:
            Images of each batch, uint8, shape (m, channels, height, width).

        Raises:
            ValueError: While it runs: an image cannot be read.
        """
        ...

    def to(self, device: torch.device) -> "Pixels":
        """The same images on a device, or this source where they stay in files."""
        ...


@runtime_checkable
class CroppedPixels(Protocol):
    """Images that are cut from larger ones: their source makes the crops of a view itself."""

    def read_crops(self, batches: Sequence[Tensor], crops: ViewCrops) -> Iterator[Tensor]:
        """Read the crops of a view: see `Pixels.read`."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class ArrayPixels:
    """Decoded images in one array, in memory or mapped into it from disk."""

    images: Tensor
    """uint8, shape (all, channels, height, width)."""
    rows: Tensor
    """Positions of the split's images, int64, shape (n,), on the device of the images."""

    def read(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Read the images of one batch after the other: see `Pixels.read`."""
        for samples in copy_to(batches, self.images.device):
            # index_select copies whole images, 15 times as fast as indexing with brackets.
            yield self.images.index_select(0, self.rows[samples])

    def to(self, device: torch.device) -> "ArrayPixels":
        """The split's images alone, on a device; on the device where they are, this source."""
        if device.type == self.images.device.type:
            return self
        images = self.images.index_select(0, self.rows).to(device)
        return ArrayPixels(images, torch.arange(len(self.rows), device=device))


@dataclass(frozen=True, eq=False, slots=True)
class SelectedPixels:
    """Some images of another source."""

    pixels: Pixels
    rows: Tensor
    """Their positions in the other source, int64 on the CPU, shape (n,)."""

    def read(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Read the images of one batch after the other: see `Pixels.read`."""
        return self.pixels.read([self.rows[samples] for samples in batches])

    def to(self, device: torch.device) -> "SelectedPixels":
        """The same images on a device, or this source where they stay in files."""
        return SelectedPixels(self.pixels.to(device), self.rows)


def select_pixels(pixels: Pixels, rows: Tensor) -> Pixels:
    """The images at some positions of a source, int64 on the CPU."""
    if isinstance(pixels, ArrayPixels):
        return ArrayPixels(pixels.images, pixels.rows[rows])
    if isinstance(pixels, StreamPixels):
        return pixels.select(rows)
    return SelectedPixels(pixels, rows)
