"""Mean and standard deviation of a training part's pixels, by which batches are normalised."""

import hashlib
import math
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from lpstudy.data.arrays import FORMAT, cache_folder, cache_lock
from lpstudy.data.augment import hash64
from lpstudy.data.stream import StreamSplit
from lpstudy.disk import write_atomically

MEASURED_IMAGES = 1024
"""Training images of a stream that are measured. Means of single images spread by 0.15 or so: that of 1,024
is right to 0.005."""
SMALLEST_STD = 1 / 255
"""So that a channel that never changes is not divided by zero."""


class Statistics(BaseModel):
    """Per channel, of pixels in [0, 1]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[float, ...]
    std: tuple[float, ...]


class MeasuredStatistics(Statistics):
    """Statistics of some of a stream's images, and what else was seen of them."""

    images: int
    """How many were looked at."""
    transparent: int
    """How many of them had pixels that are not opaque."""


def statistics_of(sums: Tensor, pixels: int) -> Statistics:
    """Mean and standard deviation from sums.

    Args:
        sums: Of the values of pixels in [0, 255] and of their squares, int64, shape (channels, 2).
        pixels: How many there are of each channel.
    """
    mean, std = [], []
    for total, squares in sums.tolist():
        mean.append(total / pixels / 255)
        # In whole numbers, of which Python's have room for all: no digits cancel.
        variance = (squares * pixels - total * total) / (pixels * pixels)
        std.append(max(math.sqrt(variance) / 255, SMALLEST_STD))
    return Statistics(mean=tuple(mean), std=tuple(std))


def measure(split: StreamSplit, source: str, *, progress: bool) -> MeasuredStatistics:
    """Statistics of some of a stream's images, kept in the cache.

    Args:
        split: The training part.
        source: Stands for the files and how they are split and cut; a change of it means to measure again.
        progress: Show a progress line.

    Raises:
        ValueError: A file is no readable image, or the cache cannot be written.
    """
    key = hashlib.sha256(f"{FORMAT} {MEASURED_IMAGES} {source}".encode()).hexdigest()
    path = cache_folder() / "measured" / f"{key}.json"
    if (found := _kept(path)) is not None:  # before the lock: such a cache may be one that only can be read
        return found
    with cache_lock("measured.lock"):
        if (found := _kept(path)) is not None:
            return found
        samples = hash64(torch.arange(len(split)), 0).argsort()[:MEASURED_IMAGES]
        sums = split.sums(samples, progress=progress)
        statistics = statistics_of(sums.total, sums.pixels).model_dump()
        found = MeasuredStatistics(**statistics, images=len(samples), transparent=sums.transparent)
        write_atomically(path, found.model_dump_json().encode())
        return found


def _kept(path: Path) -> MeasuredStatistics | None:
    """What was measured before; None where there is nothing, or it is damaged."""
    try:
        return MeasuredStatistics.model_validate_json(path.read_text("utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, ValidationError):
        return None
