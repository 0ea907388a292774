"""A folder of images: train/<class>/* and test/<class>/* (or val, where there is no test), of any size."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lpstudy.data.arrays import Arrays
from lpstudy.data.images import decode_image, display_path, size_of
from lpstudy.data.listing import Files, Listing, list_files
from lpstudy.data.progress_line import with_progress


def list_image_folder(root: Path, *, progress: bool) -> Listing:
    """List the folder's files; a test folder replaces val, for validation is always cut from train.

    Raises:
        FileNotFoundError: The folder, its training set or its test set is missing.
        ValueError: A class is empty or in one set only, a file is no image, a link leads out of the folder.
    """
    return list_files("image_folder", root, test_folders=("test", "val"), progress=progress)


def first_size(listing: Listing) -> tuple[int, int]:
    """Height and width of the first training image.

    Raises:
        ValueError: It cannot be read.
    """
    return size_of(listing.path(listing.train.paths[0]))


def check_sizes(listing: Listing, size: tuple[int, int], *, progress: bool) -> None:
    """Check the size in the header of every file.

    Raises:
        ValueError: An image cannot be read or has another height and width.
    """
    for files in (listing.train, listing.test):
        for path in with_progress(files.paths, "sizes", total=len(files.paths), progress=progress):
            _check_size(listing.path(path), size_of(listing.path(path)), size)


@dataclass(frozen=True, slots=True)
class Cut:
    """How the images of files get one size."""

    side: int | None
    """Pixels of a side to which images are resized and cut; None: all have the size already."""
    resize: int | None
    """Pixels of the shorter side before the cut; None: `side`."""
    size: tuple[int, int]
    """Height and width of the result."""


def decode_all(listing: Listing, cut: Cut, *, progress: bool) -> Arrays:
    """Decode all images to arrays.

    Args:
        listing: The files.
        cut: How they get one size.
        progress: Show a progress line.

    Raises:
        ValueError: A file is no readable image, or has another size where none is resized.
    """
    train, train_transparent = _decode_files(listing, listing.train, cut, progress)
    test, test_transparent = _decode_files(listing, listing.test, cut, progress)
    return Arrays(
        train,
        listing.train.labels,
        test,
        listing.test.labels,
        listing.class_names,
        transparent=train_transparent + test_transparent,
    )


def _decode_files(
    listing: Listing, files: Files, cut: Cut, progress: bool
) -> tuple[npt.NDArray[np.uint8], int]:
    """Decode the images; also return how many of them have transparent pixels."""
    transparent = 0
    images = np.empty((len(files.paths), 3, *cut.size), dtype=np.uint8)
    paths = with_progress(files.paths, "decoding", total=len(images), progress=progress)
    for target, path in zip(images, paths, strict=True):
        image = decode_image(listing.path(path), cut.side, cut.resize)
        _check_size(listing.path(path), image.pixels.shape[1:], cut.size)
        target[...] = image.pixels
        transparent += image.transparent
    return images, transparent


def _check_size(path: bytes, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    if shape != size:
        raise ValueError(
            f"{display_path(path)} has {shape[1]}x{shape[0]} pixels, the first image {size[1]}x{size[0]}:"
            " set image_size, to which all are resized"
        )
