"""Augmentation as a pure function of (sample, view, seed): draws, views, crops of padded images.

No function here has a random generator's state, so that any process can compute the same view again: teacher
and student, two trials of one epoch and seed, a teacher bank of last week.
"""

import functools
import math

import torch
import torch.nn.functional
from torch import Tensor

from lpstudy.sample_hash import hash64

GOLDEN_SECTION = (math.sqrt(5.0) - 1.0) / 2.0
UNLIMITED = 2**62
"""The number of views of an image whose crop or colours are drawn: more than any run shows."""
VIEW = 0x56494557
"""Hash key of the view that an epoch draws among unlimited ones."""


def uniforms(samples: Tensor, count: int, *keys: int) -> Tensor:
    """Numbers in [0, 1) of every sample and the keys, multiples of 2^-53; float64, shape (m, count).

    Args:
        samples: int64 on the CPU, shape (m,).
        count: Numbers of each sample.
        keys: See `hash64`.
    """
    hashes = hash64(samples[:, None], *keys, torch.arange(count))
    return (hashes >> 10).to(torch.float64) * 2.0**-53


def positions(pad: int, flip: bool) -> int:
    """The number of distinct views of an image: (2 pad + 1)^2 crops, twice as many with flips."""
    return (2 * pad + 1) ** 2 * (2 if flip else 1)


def view_of(*, seed: int, epoch: int, count: int) -> int:
    """The view of all samples in an epoch: each of [0, count) once in the seed's order, then again.

    Of unlimited views each epoch of a seed has one of its own.

    One number for all samples loses no variety, for `placement` cuts the view elsewhere in each of them;
    and a teacher bank can be read one whole view at a time.

    Args:
        seed: The trial's seed.
        epoch: The epoch, counted from 1.
        count: The number of views in use.
    """
    if count == UNLIMITED:
        return int(hash64(torch.tensor(epoch), seed, VIEW)) % count
    turn, number = divmod(epoch - 1, count)
    order = hash64(torch.arange(count), seed, turn).argsort()
    return int(order[number])


def placement(
    samples: Tensor, view: int | Tensor, *, pad: int, flip: bool, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The crop and flip of a view: (hash(sample, seed) + view * stride) mod n, n the number of positions.

    The stride is coprime with n, so that n views are every crop and flip of a sample once; fewer views are
    a subset of its own without repeats, spread out because the stride lies near the golden section of n.

    Args:
        samples: Positions within the split, int64, shape (m,).
        view: Its number in [0, n), or one for each sample, int64, shape (m,).
        pad: Pixels of black on every side.
        flip: Whether views may be mirrored left to right.
        seed: The seed of the data, not that of a trial.

    Returns:
        Rows dy and columns dx of the crops within the padded images, int64 in [0, 2 pad], and flips, bool;
        each of shape (m,).
    """
    side = 2 * pad + 1
    count = positions(pad, flip)
    position = (hash64(samples, seed) % count + view * _stride(count)) % count
    crop = position % (side * side)
    return crop // side, crop % side, position >= side * side


@functools.cache
def _stride(count: int) -> int:
    """The number coprime with count that lies nearest to its golden section (1 where count is 1)."""
    coprime = [stride for stride in range(1, count + 1) if math.gcd(stride, count) == 1]
    return min(coprime, key=lambda stride: abs(stride - GOLDEN_SECTION * count))


def augment(images: Tensor, dy: Tensor, dx: Tensor, flips: Tensor, pad: int) -> Tensor:
    """Crops of the images padded with black, mirrored where `flips` is true; the size stays.

    Args:
        images: Any number type, shape (m, channels, height, width).
        dy: First row of each crop within the padded image, int64 in [0, 2 pad], shape (m,).
        dx: First column of each crop, likewise.
        flips: Which crops are mirrored left to right, bool, shape (m,).
        pad: Pixels of black on every side.

    Returns:
        The type and shape of `images`.
    """
    samples, channels, height, width = images.shape
    padded_images = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    y = torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device)
    rows = dy[:, None] + y
    columns = dx[:, None] + torch.where(flips[:, None], width - 1 - x, x)
    pixels = (rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]).view(samples, 1, height * width)
    return padded_images.flatten(2).gather(2, pixels.expand(-1, channels, -1)).view_as(images)
