"""Images that are decoded from their files batch by batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lpstudy.data.arrays import pixel_sums
from lpstudy.data.files import Files
from lpstudy.data.image_region import ImageSource
from lpstudy.data.images import DecodedImage, decode_crop, decode_image
from lpstudy.data.progress_line import with_progress
from lpstudy.data.resized_crop import ViewCrops

MEASURE_CHUNK = 4
"""Images whose pixels are summed in one step; they may be large."""


@dataclass(frozen=True, eq=False, slots=True)
class StreamPixels:
    """Images of files that are decoded on the fly, by as many processes as torch has threads here."""

    files: Files
    side: int | None
    """Pixels of a side to which images are resized and cut; None: they have one size."""
    resize: int | None = None
    """Pixels of the shorter side before the cut; None: `side`."""

    def read(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Read the images of one batch after the other: see `Pixels.read`.

        Raises:
            ValueError: While it runs: a file is no readable image.
        """
        return (torch.from_numpy(batch.images) for batch in self._decode(batches))

    def read_crops(self, batches: Sequence[Tensor], crops: ViewCrops) -> Iterator[Tensor]:
        """Read the crops of a view, cut out of the images as they are in their files: see `read`."""
        return (torch.from_numpy(batch.images) for batch in self._decode(batches, crops))

    def select(self, rows: Tensor) -> "StreamPixels":
        """The images at some positions, int64 on the CPU."""
        return replace(self, files=self.files.select(rows.numpy()))

    def to(self, device: torch.device) -> "StreamPixels":
        """This source: its images are in files."""
        del device
        return self

    def sums(self, samples: Tensor, *, progress: bool) -> "PixelSums":
        """Sums over the pixels of some samples.

        Raises:
            ValueError: A file is no readable image.
        """
        total, pixels, transparent = torch.zeros(3, 2, dtype=torch.int64), 0, 0
        shares = torch.split(samples, MEASURE_CHUNK)
        batches = with_progress(self._decode(shares), "measuring", total=len(shares), progress=progress)
        for batch in batches:
            total += torch.from_numpy(pixel_sums(batch.images)).sum(dim=0)
            pixels += batch.images.size // 3
            transparent += batch.transparent
        return PixelSums(total, pixels, transparent)

    def _decode(self, shares: Sequence[Tensor], crops: ViewCrops | None = None) -> "Iterator[DecodedBatch]":
        """Decode the images of the requested samples, or crops of them."""
        threads = torch.get_num_threads()
        loader = DataLoader(
            _ImageDataset(self, crops),
            batch_size=None,
            sampler=shares,
            # With one thread there is no second core to decode on.
            num_workers=threads if threads > 1 else 0,
            collate_fn=_identity,
            # DataLoader draws a seed, unused here, from the global generator unless it has its own.
            generator=torch.Generator(),
        )
        for batch in loader:
            if isinstance(batch, UnreadableFile):
                raise ValueError(batch.message)
            yield batch


@dataclass(frozen=True, eq=False, slots=True)
class PixelSums:
    """Sums over the pixels of some images of a stream."""

    total: Tensor
    """Sums of the pixels and of their squares, int64, shape (channels, 2)."""
    pixels: int
    """The number of pixels of each channel."""
    transparent: int
    """The number of images with pixels that are not opaque."""


@dataclass(frozen=True, eq=False, slots=True)
class DecodedBatch:
    """Images on their way from a decoding process.

    They go through a pipe: tensors would go through shared memory, of which a container has 64 MiB.
    """

    images: npt.NDArray[np.uint8]
    """Shape (m, channels, height, width)."""
    transparent: int
    """The number of them with pixels that are not opaque."""


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """The error of an unreadable file, as a value: DataLoader would make pages of an exception."""

    message: str


class _ImageDataset(Dataset[DecodedBatch | UnreadableFile]):
    """Batches of images by the positions of their samples."""

    def __init__(self, source: StreamPixels, crops: ViewCrops | None) -> None:
        self._source = source
        self._crops = crops

    def __getitem__(self, samples: Tensor) -> DecodedBatch | UnreadableFile:
        source = self._source
        images = [source.files.image(row) for row in samples.tolist()]
        try:
            decoded_images = self._images(images, samples)
            pixels = np.stack([image.pixels for image in decoded_images])
        except ValueError as error:
            return UnreadableFile(str(error))
        return DecodedBatch(pixels, sum(image.transparent for image in decoded_images))

    def _images(self, images: list[ImageSource], samples: Tensor) -> list[DecodedImage]:
        side, resize = self._source.side, self._source.resize
        if self._crops is None:
            return [decode_image(image, side, resize) for image in images]
        boxes = self._crops.box_functions(samples)
        return [decode_crop(image, side, box) for image, box in zip(images, boxes, strict=True)]


def _identity(batch: object) -> object:
    return batch
