"""Mean and standard deviation of the training pixels, by which batches are normalised."""

import hashlib
import math
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from lpstudy.cache import cache_folder
from lpstudy.data.array_cache import FORMAT, cache_lock
from lpstudy.data.stream import StreamPixels
from lpstudy.disk import write_atomically
from lpstudy.sample_hash import hash64

MEASURED_IMAGES = 1024
"""Training images of a stream that are measured. Means of single images spread by 0.15 or so: that of 1,024
is right to 0.005."""
SMALLEST_STD = 1 / 255
"""The lower limit of a standard deviation, for a channel that never changes."""


class Statistics(BaseModel):
    """Mean and standard deviation per channel of pixels in [0, 1]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[float, ...]
    std: tuple[float, ...]


class MeasuredStatistics(Statistics):
    """Statistics of a sample of a stream's images, and how many of them are transparent."""

    images: int
    """The number of images in the sample."""
    transparent: int
    """The number of them with pixels that are not opaque."""


def statistics_of(sums: Tensor, pixels: int) -> Statistics:
    """Compute mean and standard deviation from sums.

    Args:
        sums: Sums of the pixels' values in [0, 255] and of their squares, int64, shape (channels, 2).
        pixels: The number of pixels of each channel.
    """
    mean, std = [], []
    for total, squares in sums.tolist():
        mean.append(total / pixels / 255)
        # In Python's integers, which are exact: no digits cancel.
        variance = (squares * pixels - total * total) / (pixels * pixels)
        std.append(max(math.sqrt(variance) / 255, SMALLEST_STD))
    return Statistics(mean=tuple(mean), std=tuple(std))


def measure(pixels: StreamPixels, source: str, *, progress: bool) -> MeasuredStatistics:
    """Measure the statistics of a sample of a stream's images, or load them from the cache.

    Args:
        pixels: The images of the training part.
        source: Identifies the files, their split and their cut; when it changes, they are measured again.
        progress: Show a progress line.

    Raises:
        ValueError: A file is no readable image, or the cache cannot be written.
    """
    key = hashlib.sha256(f"{FORMAT} {MEASURED_IMAGES} {source}".encode()).hexdigest()
    path = cache_folder() / "measured" / f"{key}.json"
    if (statistics := _load_cached(path)) is not None:  # before the lock: the cache may be read-only
        return statistics
    with cache_lock("measured.lock"):
        if (statistics := _load_cached(path)) is not None:
            return statistics
        samples = hash64(torch.arange(len(pixels.files)), 0).argsort()[:MEASURED_IMAGES]
        sums = pixels.sums(samples, progress=progress)
        values = statistics_of(sums.total, sums.pixels).model_dump()
        statistics = MeasuredStatistics(**values, images=len(samples), transparent=sums.transparent)
        write_atomically(path, statistics.model_dump_json().encode())
        return statistics


def _load_cached(path: Path) -> MeasuredStatistics | None:
    """The cached statistics; None where there are none or they are damaged."""
    try:
        return MeasuredStatistics.model_validate_json(path.read_text("utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, ValidationError):
        return None
