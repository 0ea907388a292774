"""Crops of random area and aspect ratio, resized to one size: the training crops of ImageNet."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lpstudy.data.augment import uniforms

ATTEMPTS = 10
"""Boxes that are drawn for an image until one fits into it."""
CROP, ERASE = 0x43524F50, 0x45524153
"""Hash keys: no draw of a crop is that of an erased box."""
DRAWS = 2 * ATTEMPTS + 2
"""Numbers that a box takes: area and ratio of each attempt, row and column of the first that fits."""

Box = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""
Span = tuple[float, float]
"""Lowest and highest value."""


@dataclass(frozen=True, slots=True)
class BoxRange:
    """What boxes are drawn from: the area evenly, the logarithm of the aspect ratio evenly."""

    scale: Span
    """Share of the image's area."""
    ratio: Span
    """Width over height."""
    margin: int = 0
    """The fewest pixels by which a box is lower and narrower than the image."""

    def first_fit(self, draws: Sequence[float], height: int, width: int) -> Box | None:
        """The first box that fits into an image of this size, in one of its places; None where none does.

        Args:
            draws: `DRAWS` numbers in [0, 1).
            height: Rows of the image.
            width: Columns of the image.
        """
        low, high = (math.log(value) for value in self.ratio)
        for attempt in range(ATTEMPTS):
            share = self.scale[0] + (self.scale[1] - self.scale[0]) * draws[2 * attempt]
            area = height * width * share
            ratio = math.exp(low + (high - low) * draws[2 * attempt + 1])
            columns, rows = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < columns <= width - self.margin and 0 < rows <= height - self.margin:
                row, column = draws[-2:]
                return int(row * (height - rows + 1)), int(column * (width - columns + 1)), rows, columns
        return None


@dataclass(frozen=True, slots=True)
class ViewCrops:
    """The crops of one view, a function of sample and size.

    Source: Szegedy et al., arXiv 1409.4842, section 6; rounding and fallback as torchvision's
    `RandomResizedCrop`.
    """

    range: BoxRange
    seed: int
    """The data's seed."""
    view: int

    def box_functions(self, samples: Tensor) -> list[Callable[[int, int], Box]]:
        """For each sample, int64 on the CPU, the function from its image's height and width to its crop."""
        draws = uniforms(samples, DRAWS, self.seed, self.view, CROP).tolist()
        return [partial(self._box, row) for row in draws]

    def _box(self, draws: Sequence[float], height: int, width: int) -> Box:
        return self.range.first_fit(draws, height, width) or self._centre(height, width)

    def _centre(self, height: int, width: int) -> Box:
        """The largest centred box whose ratio is in the range."""
        low, high = self.range.ratio
        rows, columns = height, width
        if width < low * height:
            rows = round(width / low)
        elif width > high * height:
            columns = round(height * high)
        return (height - rows) // 2, (width - columns) // 2, rows, columns

    def cut(self, images: Tensor, samples: Tensor) -> Tensor:
        """The crops of images of one size, resized to it: bilinear, antialiased.

        Args:
            images: uint8, shape (m, channels, height, width).
            samples: Their positions within the split, int64 on the CPU, shape (m,).
        """
        from torchvision.transforms.v2.functional import resized_crop

        height, width = images.shape[2:]
        crops = [
            resized_crop(image, *box(height, width), size=[height, width], antialias=True)
            for image, box in zip(images, self.box_functions(samples), strict=True)
        ]
        return torch.stack(crops)
