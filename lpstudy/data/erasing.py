"""Random erasing: a box of an image becomes the mean colour."""

from torch import Tensor

from lpstudy.data.augment import uniforms
from lpstudy.data.resized_crop import DRAWS, ERASE, Box, BoxRange

RANGE = BoxRange(scale=(0.02, 0.33), ratio=(1 / 3.3, 1 / 0.3), margin=1)
"""The boxes of torchvision's `RandomErasing`, whose ratio is height over width."""


def erased_boxes(
    samples: Tensor, size: tuple[int, int], *, probability: float, seed: int, view: int
) -> list[Box]:
    """The erased box of each sample; one without an area where nothing is erased.

    Args:
        samples: Positions within the split, int64 on the CPU, shape (m,).
        size: Height and width of the images.
        probability: The share of the images of a view in which a box is erased.
        seed: The data's seed.
        view: The view.

    Source: Zhong et al., arXiv 1708.04896.
    """
    nothing = (0, 0, 0, 0)
    draws = uniforms(samples, DRAWS + 1, seed, view, ERASE).tolist()
    boxes = (RANGE.first_fit(row[1:], *size) if row[0] < probability else nothing for row in draws)
    return [box or nothing for box in boxes]


def erase(pixels: Tensor, boxes: list[Box]) -> None:
    """Set the boxes of normalised images to 0, the mean colour, in place.

    Args:
        pixels: float32, shape (m, channels, height, width).
        boxes: One for each image.
    """
    for image, (top, left, height, width) in zip(pixels, boxes, strict=True):
        if height:
            image[:, top : top + height, left : left + width] = 0.0
