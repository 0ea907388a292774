"""Remarks for the owner of a data set: images in two parts, transparency, few labels."""

import hashlib
import os
from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

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
    rows = hash64(torch.arange(len(part.paths)), 0).argsort()[:SAMPLE].numpy()
    sizes = part.sizes[rows]
    hashes = {
        (size, digest)
        for other in others
        for size, digest in _file_hashes(other, np.flatnonzero(np.isin(other.sizes, sizes)))
    }
    return sum(other in hashes for other in _file_hashes(part, rows)), len(rows)


def _file_hashes(pixels: StreamPixels, rows: npt.NDArray[np.integer]) -> Iterator[tuple[int, int]]:
    for row in rows:
        with open(os.path.join(pixels.root, bytes(pixels.paths[row])), "rb") as file:
            content = hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=DIGEST))
        yield int(pixels.sizes[row]), int.from_bytes(content.digest())


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=DIGEST).digest())
