"""RandAugment and TrivialAugment: operations on colours and positions, by torchvision's kernels."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor

from lpstudy.data.augment import uniforms

BINS = 31
"""Magnitudes of an operation, from no change to its strongest."""
OPERATION = 0x4F504552
"""Hash key of the draws of an operation."""
CHANNELS = (1, 3)
"""Numbers of channels that the operations on colours take."""

PolicyName = Literal["randaugment", "trivialaugment"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of operation and its magnitudes, which rise evenly from low to high."""

    name: str
    low: float = 0.0
    high: float = 0.0
    per_width: bool = False
    """Whether the magnitudes are shares of the image's width or height."""

    @property
    def signed(self) -> bool:
        """Whether half of the draws have the opposite sign."""
        return self.name not in (*WITHOUT_MAGNITUDE, "posterize", "solarize")

    def magnitudes(self, side: int) -> tuple[float, ...]:
        """All magnitudes, for an image with this many pixels in the operation's direction."""
        return _magnitudes(self, side)


@cache
def _magnitudes(operation: Operation, side: int) -> tuple[float, ...]:
    high = operation.high * side if operation.per_width else operation.high
    values = torch.linspace(operation.low, high, BINS)
    return tuple((values.round() if operation.name == "posterize" else values).tolist())


WITHOUT_MAGNITUDE = ("identity", "autocontrast", "equalize")
COLOURS = ("brightness", "saturation", "contrast", "sharpness")
DISTANCE = 150 / 331
"""RandAugment's longest translation as a share of the side; the search of AutoAugment had images of 331."""
OPERATIONS: dict[PolicyName, tuple[Operation, ...]] = {
    "randaugment": (
        Operation("identity"),
        Operation("shear_x", 0, 0.3),
        Operation("shear_y", 0, 0.3),
        Operation("translate_x", 0, DISTANCE, per_width=True),
        Operation("translate_y", 0, DISTANCE, per_width=True),
        Operation("rotate", 0, 30),
        *(Operation(name, 0, 0.9) for name in COLOURS),
        Operation("posterize", 8, 4),
        Operation("solarize", 1, 0),
        Operation("autocontrast"),
        Operation("equalize"),
    ),
    "trivialaugment": (
        Operation("identity"),
        Operation("shear_x", 0, 0.99),
        Operation("shear_y", 0, 0.99),
        Operation("translate_x", 0, 32),
        Operation("translate_y", 0, 32),
        Operation("rotate", 0, 135),
        *(Operation(name, 0, 0.99) for name in COLOURS),
        Operation("posterize", 8, 2),
        Operation("solarize", 1, 0),
        Operation("autocontrast"),
        Operation("equalize"),
    ),
}
"""The operations of each policy: angles in degrees, distances in pixels, bits, shares of 255, factors - 1."""

Draw = tuple[Operation, float]
"""An operation and its magnitude."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Which operations change an image, and how strongly.

    Source: RandAugment, Cubuk et al., arXiv 1909.13719; TrivialAugment (wide), Müller and Hutter,
    arXiv 2103.10158. Magnitudes, nearest neighbours and black corners are those of torchvision.
    """

    name: PolicyName
    operations: int
    """The number of operations on each image, one after the other."""
    magnitude: int | None
    """The number of each magnitude in [0, BINS); None: drawn for each image."""

    def draws(
        self, samples: Tensor, size: tuple[int, int], *, seed: int, view: int, place: int
    ) -> list[Draw]:
        """The operation of each sample that comes at a place, counted from 0; see `apply`."""
        kinds = OPERATIONS[self.name]
        numbers = uniforms(samples, 3, seed, view, OPERATION, place).tolist()
        result = []
        for kind, bin_number, sign in numbers:
            operation = kinds[int(kind * len(kinds))]
            number = int(bin_number * BINS) if self.magnitude is None else self.magnitude
            side = size[0] if operation.name.endswith("_y") else size[1]
            magnitude = operation.magnitudes(side)[number]
            result.append((operation, -magnitude if operation.signed and sign < 0.5 else magnitude))
        return result

    def apply(self, images: Tensor, samples: Tensor, *, seed: int, view: int) -> Tensor:
        """The images of a view after their operations; equal ones are computed together.

        Args:
            images: uint8, shape (m, 1 or 3, height, width).
            samples: Their positions within the split, int64 on the CPU, shape (m,).
            seed: The data's seed.
            view: The view.
        """
        height, width = images.shape[2:]
        for place in range(self.operations):
            draws = self.draws(samples, (height, width), seed=seed, view=view, place=place)
            groups: dict[Draw, list[int]] = {}
            for row, draw in enumerate(draws):
                groups.setdefault(draw, []).append(row)
            order = torch.tensor([row for rows in groups.values() for row in rows])
            order = order.to(images.device, non_blocking=True)
            parts = torch.split(images.index_select(0, order), [len(rows) for rows in groups.values()])
            outputs = [
                kernel(operation.name, magnitude)(part)
                for (operation, magnitude), part in zip(groups, parts, strict=True)
            ]
            images = torch.empty_like(images).index_copy_(0, order, torch.cat(outputs))
        return images


def kernel(name: str, magnitude: float) -> Callable[[Tensor], Tensor]:
    """The function of an operation for images of one size, uint8, shape (m, 1 or 3, height, width).

    Args:
        name: The operation's.
        magnitude: With its sign.
    """
    from torchvision.transforms.v2 import functional

    def affine(**changes: Any) -> Callable[[Tensor], Tensor]:
        still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
        return partial(functional.affine, **(still | changes))

    angle = math.degrees(math.atan(magnitude))
    match name:
        case "shear_x":
            return affine(shear=[angle, 0.0], center=[0, 0])
        case "shear_y":
            return affine(shear=[0.0, angle], center=[0, 0])
        case "translate_x":
            return affine(translate=[int(magnitude), 0])
        case "translate_y":
            return affine(translate=[0, int(magnitude)])
        case "rotate":
            return partial(functional.rotate, angle=magnitude)
        case "posterize":
            return partial(functional.posterize, bits=int(magnitude))
        case "solarize":
            return partial(functional.solarize, threshold=255 * magnitude)
        case "autocontrast" | "equalize":
            return partial(getattr(functional, name))
        case "identity":
            return lambda images: images
    return partial(getattr(functional, f"adjust_{name}"), **{f"{name}_factor": 1.0 + magnitude})
