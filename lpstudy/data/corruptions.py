"""C-lite: six corruptions of test images in five severities, the same bytes on every machine.

Kinds of corruption after Hendrycks and Dietterich (2019), ICLR, arXiv 1903.12261; formulas and severities are
lpstudy's own, so accuracies are not those of ImageNet-C or CIFAR-C.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpstudy.data.augment import uniforms
from lpstudy.data.pixels import Pixels

Corruption = Literal["noise", "blur", "brightness", "contrast", "pixelate", "jpeg"]
CORRUPTIONS: tuple[Corruption, ...] = get_args(Corruption)
SEVERITIES = (1, 2, 3, 4, 5)
STRENGTHS: dict[Corruption, tuple[float, ...]] = {
    "noise": (0.04, 0.08, 0.12, 0.18, 0.26),
    "blur": (0.5, 0.75, 1.0, 1.5, 2.0),
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "pixelate": (0.75, 0.6, 0.5, 0.4, 0.3),
    "jpeg": (80, 50, 30, 20, 10),
}
"""By severity: standard deviation of Gaussian noise, for values in [0, 1]; standard deviation of a Gaussian
kernel in 1/32 of the shorter side; what is added to values in [0, 1]; factor of the distance to the image's
mean in each channel; share of the sides' pixels that remain; JPEG quality, with halved chroma."""
NOISE = 0x4E4F4953
"""Hash key of the noise."""
TESTED = 100
"""Images whose corruptions are hashed."""
_Images = NDArray[np.float64]


def corrupt(images: Tensor, samples: Tensor, corruption: Corruption, severity: int) -> Tensor:
    """The corrupted images.

    Args:
        images: uint8 on the CPU, shape (m, channels, height, width).
        samples: The position of each image in its split, which seeds its noise; int64 on the CPU, shape (m,).
        corruption: What is done to them.
        severity: From 1, weak, to 5.
    """
    strength = STRENGTHS[corruption][severity - 1]
    if corruption == "jpeg":
        return torch.from_numpy(np.stack([_jpeg(image, int(strength)) for image in images.numpy()]))
    if corruption == "noise":
        return _noisy(images, samples, strength)
    changed = _CHANGES[corruption](images.numpy().astype(np.float64), strength)
    return torch.from_numpy(np.rint(changed).clip(0, 255).astype(np.uint8))


@dataclass(frozen=True, eq=False, slots=True)
class CorruptedPixels:
    """Another source's images, corrupted on the CPU as they are read."""

    pixels: Pixels
    """On the CPU or in files."""
    corruption: Corruption
    severity: int

    def read(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Read the images of one batch after the other: see `Pixels.read`."""
        for samples, images in zip(batches, self.pixels.read(batches), strict=True):
            yield corrupt(images, samples, self.corruption, self.severity)

    def to(self, device: torch.device) -> "CorruptedPixels":
        """This source: its images are made on the CPU."""
        del device
        return self


def hash_of(pixels: Sequence[Pixels], images: int) -> str:
    """SHA-256 of the first 100 of some images in each source, in hexadecimal."""
    digest = hashlib.sha256()
    for source in pixels:
        for batch in source.read([torch.arange(min(TESTED, images))]):
            digest.update(batch.numpy().tobytes())
    return digest.hexdigest()


def _noisy(images: Tensor, samples: Tensor, deviation: float) -> Tensor:
    """With normal noise by the inverse distribution function; all severities have the same draws, scaled."""
    draws = uniforms(samples, images[0].numel(), NOISE) + 2.0**-54  # never 0
    noise = torch.special.ndtri(draws).view(images.shape) * (255 * deviation)
    noisy: Tensor = (images + noise).round_().clamp_(0, 255).to(torch.uint8)
    return noisy


def _blurred(images: _Images, width: float) -> _Images:
    deviation = width * min(images.shape[2:]) / 32
    reach = max(1, int(np.ceil(3 * deviation)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    kernel /= kernel.sum()
    for axis in (2, 3):
        size, pad = images.shape[axis], [(0, 0)] * 4
        pad[axis] = (reach, reach)
        padded = np.pad(images, pad, mode="symmetric")
        images = sum(
            weight * np.take(padded, range(first, first + size), axis) for first, weight in enumerate(kernel)
        )
    return images


def _brighter(images: _Images, added: float) -> _Images:
    return images + 255 * added


def _flatter(images: _Images, factor: float) -> _Images:
    mean: _Images = images.mean(axis=(2, 3), keepdims=True)
    return mean + factor * (images - mean)


def _pixelated(images: _Images, share: float) -> _Images:
    """Averaged over the boxes of a coarser grid, which are then shown as squares."""
    for axis in (2, 3):
        size = images.shape[axis]
        boxes = _boxes(size, max(1, round(share * size)))
        nearest = ((np.arange(size) + 0.5) * len(boxes) / size).astype(int)
        averaged = np.moveaxis(np.tensordot(images, boxes, axes=(axis, 1)), -1, axis)
        images = np.take(averaged, nearest, axis)
    return images


def _boxes(size: int, count: int) -> _Images:
    """The share of each of the pixels in each of the boxes, shape (count, size); rows add up to 1."""
    edges = np.arange(count + 1) * size / count
    low = np.maximum(edges[:-1, None], np.arange(size))
    high = np.minimum(edges[1:, None], np.arange(size) + 1)
    shares: _Images = np.maximum(high - low, 0) * count / size
    return shares


def _jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    from PIL import Image

    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2)
    decoded = np.asarray(Image.open(file, formats=["JPEG"]))
    return decoded[None] if len(image) == 1 else decoded.transpose(2, 0, 1)


_CHANGES: dict[str, Callable[[_Images, float], _Images]] = {
    "blur": _blurred,
    "brightness": _brighter,
    "contrast": _flatter,
    "pixelate": _pixelated,
}
