"""The 1,797 images of handwritten digits, 8x8 pixels, that scikit-learn carries: the embedded default.

Source: Alpaydin and Kaynak, UCI Machine Learning Repository, "Optical recognition of handwritten digits", its
test part.
"""

from importlib.metadata import version

import numpy as np
import torch

from lpstudy.data.arrays import Arrays
from lpstudy.data.partition import stratified_split

TEST_FRACTION = 1 / 3
"""The images come in one part; 599 of them for the test resolve an accuracy to 0.17 points."""
BRIGHTEST = 16
"""A pixel counts the ink of 4x4 dots."""


def digits_version() -> str:
    """Tells whether the images are still the same."""
    return version("scikit-learn")


def read_digits() -> Arrays:
    """The images as arrays, black on the ground of 0; which of them are the test set never changes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / BRIGHTEST)).astype(np.uint8)[:, None]
    names = tuple(str(digit) for digit in range(10))
    labels = digits.target.astype(np.int64)
    rest, test = (
        part.numpy()
        for part in stratified_split(
            torch.from_numpy(labels), TEST_FRACTION, seed=0, purpose="test", names=names
        )
    )
    return Arrays(images[rest], labels[rest], images[test], labels[test], names)
