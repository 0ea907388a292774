"""Decoding of a data set's images to arrays of one size."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lpstudy.data.array_cache import scratch_array
from lpstudy.data.arrays import Arrays
from lpstudy.data.files import Files, Listing
from lpstudy.data.image_region import ImageSource, display_source
from lpstudy.data.images import decode_image, size_of
from lpstudy.data.progress_line import with_progress


def first_size(listing: Listing) -> tuple[int, int]:
    """Height and width of the first training image.

    Raises:
        ValueError: It cannot be read.
    """
    return size_of(listing.train.image(0))


def check_sizes(listing: Listing, size: tuple[int, int], *, progress: bool) -> None:
    """Check the size in the header of every image with a label.

    Raises:
        ValueError: An image cannot be read or has another height and width.
    """
    for files in (listing.train, listing.validation, listing.test):
        if files is not None:
            for row in with_progress(range(len(files)), "sizes", total=len(files), progress=progress):
                source = files.image(row)
                _check_size(source, size_of(source), size)


@dataclass(frozen=True, slots=True)
class Cut:
    """How images get one size."""

    side: int | None
    """Pixels of a side to which images are resized and cut; None: all have the size already."""
    resize: int | None
    """Pixels of the shorter side before the cut; None: `side`."""
    size: tuple[int, int]
    """Height and width of the result."""


def unlabelled_cut(cut: Cut) -> Cut:
    """How images without labels get the size of those with labels, which may have it by themselves."""
    height, width = cut.size
    return Cut(height, None, cut.size) if cut.side is None and height == width else cut


def decode_all(listing: Listing, cut: Cut, *, progress: bool) -> Arrays:
    """Decode all images to arrays.

    Args:
        listing: The images.
        cut: How they get one size.
        progress: Show a progress line.

    Raises:
        ValueError: An image cannot be read, or has another size where none is resized.
    """
    files = listing.learning()
    images = scratch_array((len(files), 3, *cut.size))
    test_images = scratch_array((len(listing.test), 3, *cut.size))
    others = 0 if listing.unlabelled is None else len(listing.unlabelled)
    labelled, unlabelled = images[: len(files) - others], images[len(files) - others :]
    transparent = decode_into(labelled, files, cut, progress=progress)
    if listing.unlabelled is not None:
        transparent += decode_into(unlabelled, listing.unlabelled, unlabelled_cut(cut), progress=progress)
    transparent += decode_into(test_images, listing.test, cut, progress=progress)
    return Arrays(
        images,
        files.labels,
        test_images,
        listing.test.labels,
        listing.class_names,
        transparent,
        0 if listing.validation is None else len(listing.validation),
    )


def decode_into(target: npt.NDArray[np.uint8], files: Files, cut: Cut, *, progress: bool) -> int:
    """Decode the first images of some files, as many as the target has; the number of transparent ones.

    Args:
        target: Shape (n, channels, height, width); of one channel, it gets the images in grey.
        files: The images.
        cut: How they get one size.
        progress: Show a progress line.
    """
    transparent = 0
    rows = with_progress(range(len(target)), "decoding", total=len(target), progress=progress)
    for row in rows:
        source = files.image(row)
        image = decode_image(source, cut.side, cut.resize)
        _check_size(source, image.pixels.shape[1:], cut.size)
        target[row] = image.pixels if target.shape[1] == 3 else grey(image.pixels)
        transparent += image.transparent
    return transparent


def grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """An RGB image in grey: 0.299 R + 0.587 G + 0.114 B, as Pillow rounds it; shape (1, height, width).

    Source: ITU-R BT.601.
    """
    red, green, blue = pixels.astype(np.uint32)
    levels: npt.NDArray[np.uint32] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return levels.astype(np.uint8)[None]


def _check_size(source: ImageSource, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    if shape != size:
        raise ValueError(
            f"{display_source(source)} has {shape[1]}x{shape[0]} pixels, the first image {size[1]}x{size[0]}:"
            " set image_size, to which all are resized"
        )
