"""Remarks for the owner of a data set: images in two parts, transparency, few labels."""

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from lpstudy.data.image_region import open_image_source
from lpstudy.data.pixels import ArrayPixels
from lpstudy.data.split import Split
from lpstudy.data.stream import StreamPixels
from lpstudy.sample_hash import hash64

SAMPLE = 1024
"""Images of a streamed part that are searched for among the files of the others."""
CHUNK = 1024
"""Images whose pixels are read at once."""
DIGEST = 8
"""Bytes of a hash: two of ten million images share one by chance in 3 of a million data sets."""


def transparency_remark(transparent: int, images: int) -> tuple[str, ...]:
    """One line if images have pixels that are not opaque."""
    if not transparent:
        return ()
    return (f"{transparent:,} of {images:,} images have transparent pixels: they are shown on white",)


def official_remark(validation: int) -> tuple[str, ...]:
    """One line if the data set has a validation part of its own."""
    if not validation:
        return ()
    return (f"validation is the data set's own part, {validation:,} images: no validation_fraction is cut",)


def part_remarks(train: Split, validation: Split, test: Split) -> Iterator[str]:
    """One line for each part with images of another, and one if validation is larger than training."""
    if len(validation) > train.labelled:
        yield (
            f"validation has more labels ({len(validation):,}) than training ({train.labelled:,}):"
            " labels_per_class limits training alone"
        )
    for name, part, others in (
        ("test", test, {"training": train, "validation": validation}),
        ("validation", validation, {"training": train}),
    ):
        repeats, examined = _count_repeated(part, [*others.values()])
        if repeats > 0:
            yield (
                f"{repeats:,} of {examined:,} {name} images are also among the"
                f" {' or '.join(others)} images: accuracy on them says nothing of new images"
            )


def _count_repeated(part: Split, others: list[Split]) -> tuple[int, int]:
    """The number of a part's images that are also in the others, and of those that were examined.

    Images in memory are compared by their pixels, files by their bytes.
    """
    pixels, other_pixels = part.pixels, [other.pixels for other in others]
    if isinstance(pixels, ArrayPixels):
        hashes = [_pixel_hashes(other) for other in other_pixels if isinstance(other, ArrayPixels)]
        return int(np.isin(_pixel_hashes(pixels), np.concatenate(hashes)).sum()), len(part)
    if isinstance(pixels, StreamPixels):
        return _count_repeated_files(
            pixels, [other for other in other_pixels if isinstance(other, StreamPixels)]
        )
    return 0, 0


def _pixel_hashes(pixels: ArrayPixels) -> npt.NDArray[np.uint64]:
    hashes = np.empty(len(pixels.rows), dtype=np.uint64)
    for first in range(0, len(hashes), CHUNK):
        rows = pixels.rows[first : first + CHUNK]
        for number, image in enumerate(pixels.images.index_select(0, rows).numpy()):
            hashes[first + number] = _hash(image.tobytes())
    return hashes


def _count_repeated_files(part: StreamPixels, others: list[StreamPixels]) -> tuple[int, int]:
    rows = hash64(torch.arange(len(part.files)), 0).argsort()[:SAMPLE].numpy()
    sizes = part.files.sizes[rows]
    hashes = {
        (size, digest)
        for other in others
        for size, digest in _file_hashes(other, np.flatnonzero(np.isin(other.files.sizes, sizes)))
    }
    return sum(other in hashes for other in _file_hashes(part, rows)), len(rows)


def _file_hashes(pixels: StreamPixels, rows: npt.NDArray[np.integer]) -> Iterator[tuple[int, int]]:
    files = pixels.files
    for row in rows.tolist():
        with open_image_source(files.image(row)) as file:
            content = hashlib.blake2b(digest_size=DIGEST)
            while chunk := file.read(2**20):
                content.update(chunk)
        yield int(files.status[row, 0]), int.from_bytes(content.digest())


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=DIGEST).digest())
