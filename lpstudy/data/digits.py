"""The 1,797 images of handwritten digits, 8x8 pixels, that scikit-learn contains: the default data set.

Source: Alpaydin and Kaynak, UCI Machine Learning Repository, "Optical recognition of handwritten digits", its
test part.
"""

from importlib.metadata import version

import numpy as np

from lpstudy.data.arrays import Arrays, arrays_with_test_part

BRIGHTEST = 16
"""The largest pixel value: a pixel counts the ink of 4x4 dots."""


def digits_version() -> str:
    """The version of scikit-learn, which identifies the images."""
    return version("scikit-learn")


def read_digits() -> Arrays:
    """Read the images as arrays with a background of 0; 599 of them are the test set, always the same."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / BRIGHTEST)).astype(np.uint8)[:, None]
    names = tuple(str(digit) for digit in range(10))
    return arrays_with_test_part(images, digits.target.astype(np.int64), names)
