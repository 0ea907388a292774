"""The 1,797 images of handwritten digits, 8x8 pixels, that scikit-learn contains: the default data set.

Source: Alpaydin and Kaynak, UCI Machine Learning Repository, "Optical recognition of handwritten digits", its
test part.
"""

from importlib.metadata import version

import numpy as np
import torch

from lpstudy.data.arrays import Arrays
from lpstudy.data.partition import stratified_split

TEST_FRACTION = 1 / 3
"""Share of the images in the test set: 599 images resolve an accuracy to 0.17 points."""
BRIGHTEST = 16
"""The largest pixel value: a pixel counts the ink of 4x4 dots."""


def digits_version() -> str:
    """The version of scikit-learn, which identifies the images."""
    return version("scikit-learn")


def read_digits() -> Arrays:
    """Read the images as arrays with a background of 0; the test set is always the same."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / BRIGHTEST)).astype(np.uint8)[:, None]
    names = tuple(str(digit) for digit in range(10))
    labels = digits.target.astype(np.int64)
    train, test = (
        part.numpy()
        for part in stratified_split(
            torch.from_numpy(labels), TEST_FRACTION, seed=0, purpose="test", names=names
        )
    )
    return Arrays(images[train], labels[train], images[test], labels[test], names)
