"""MNIST: 60,000 and 10,000 handwritten digits, 28x28 pixels, grey.

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
"""

from pathlib import Path

import numpy as np

from lpstudy.data.arrays import Arrays
from lpstudy.data.download import open_dataset

FILES = tuple(
    f"MNIST/raw/{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
)
"""Relative to the root; torchvision unpacks them from files of these names with .gz."""


def read_mnist(root: Path, *, progress: bool) -> Arrays:
    """Read the images as arrays; download them below root if absent.

    Raises:
        FileNotFoundError: Files are missing and could not be downloaded.
        ValueError: The files are damaged.
    """
    from torchvision.datasets import MNIST

    train = open_dataset("mnist", root, FILES, lambda: MNIST(str(root), train=True, download=True), progress)
    test = open_dataset("mnist", root, FILES, lambda: MNIST(str(root), train=False, download=True), progress)
    for name, part in (("train", train), ("t10k", test)):
        if len(part.data) != len(part.targets):
            raise ValueError(
                f"mnist in {str(root)!r} has {len(part.data)} images but {len(part.targets)} labels in {name}"
            )
        if len(part.data) == 0 or part.targets.max() > 9:
            raise ValueError(
                f"mnist in {str(root)!r} must have labels 0 to 9 and at least one image in {name}"
            )
    return Arrays(
        train.data.numpy()[:, None],
        train.targets.numpy().astype(np.int64),
        test.data.numpy()[:, None],
        test.targets.numpy().astype(np.int64),
        tuple(str(digit) for digit in range(10)),
    )
