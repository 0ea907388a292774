"""What the owner of a data set should know: images in two parts, transparency, few labels."""

import hashlib
import os
from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from lpstudy.data.augment import hash64
from lpstudy.data.split import ArraySplit, Split
from lpstudy.data.stream import StreamSplit

LOOKED_AT = 1024
"""Images of a part that are looked for among the files of another, where they are streamed."""
CHUNK = 1024
"""Images whose pixels are hashed at once."""
DIGEST = 8
"""Bytes of a hash: two of ten million images share one by chance in 3 of a million data sets."""


def transparency_remark(transparent: int, images: int) -> tuple[str, ...]:
    """One line where images had pixels that are not opaque."""
    if not transparent:
        return ()
    return (f"{transparent:,} of {images:,} images have transparent pixels: they are shown on white",)


def part_remarks(train: Split, validation: Split, test: Split) -> Iterator[str]:
    """A line for each part that holds images of another, and one where validation is the larger part."""
    if len(validation) > len(train):
        yield (
            f"validation has more labels ({len(validation):,}) than training ({len(train):,}):"
            " labels_per_class limits training alone"
        )
    for name, part, others in (
        ("test", test, {"training": train, "validation": validation}),
        ("validation", validation, {"training": train}),
    ):
        repeated, looked_at = _repeated(part, [*others.values()])
        if repeated:
            yield (
                f"{repeated:,} of {looked_at:,} {name} images are also among the"
                f" {' or '.join(others)} images: accuracy on them says nothing of new images"
            )


def _repeated(part: Split, others: list[Split]) -> tuple[int, int]:
    """How many images of a part are in the others too, and how many were looked at.

    Images in memory are compared by their pixels, files by their bytes.
    """
    if isinstance(part, ArraySplit):
        known = np.concatenate([_pixel_hashes(one) for one in others if isinstance(one, ArraySplit)])
        return int(np.isin(_pixel_hashes(part), known).sum()), len(part)
    if isinstance(part, StreamSplit):
        return _repeated_files(part, [one for one in others if isinstance(one, StreamSplit)])
    return 0, 0


def _pixel_hashes(split: ArraySplit) -> npt.NDArray[np.uint64]:
    hashes = np.empty(len(split), dtype=np.uint64)
    for first in range(0, len(split), CHUNK):
        rows = split.rows[first : first + CHUNK]
        for number, image in enumerate(split.images.index_select(0, rows).numpy()):
            hashes[first + number] = _hash(image.tobytes())
    return hashes


def _repeated_files(part: StreamSplit, others: list[StreamSplit]) -> tuple[int, int]:
    chosen = hash64(torch.arange(len(part)), 0).argsort()[:LOOKED_AT].numpy()
    sizes = part.sizes[chosen]
    known = {
        (size, digest)
        for other in others
        for size, digest in _file_hashes(other, np.flatnonzero(np.isin(other.sizes, sizes)))
    }
    return sum(one in known for one in _file_hashes(part, chosen)), len(chosen)


def _file_hashes(split: StreamSplit, rows: npt.NDArray[np.integer]) -> Iterator[tuple[int, int]]:
    for row in rows:
        with open(os.path.join(split.root, bytes(split.paths[row])), "rb") as file:
            content = hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=DIGEST))
        yield int(split.sizes[row]), int.from_bytes(content.digest())


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=DIGEST).digest())
