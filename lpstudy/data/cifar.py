"""CIFAR-10 and CIFAR-100: 50,000 and 10,000 photographs, 32x32 pixels, in colour.

Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from lpstudy.data.arrays import Arrays
from lpstudy.data.download import open_dataset

FILES: dict[Literal["cifar10", "cifar100"], tuple[str, ...]] = {
    "cifar10": tuple(
        f"cifar-10-batches-py/{name}"
        for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
    ),
    "cifar100": tuple(f"cifar-100-python/{name}" for name in ("train", "test", "meta")),
}
"""Relative to the root; torchvision unpacks them from cifar-10-python.tar.gz and cifar-100-python.tar.gz."""


def read_cifar(kind: Literal["cifar10", "cifar100"], root: Path, *, progress: bool) -> Arrays:
    """Read the images as arrays; download them below root if absent. torchvision checks their MD5 sums.

    Raises:
        FileNotFoundError: Files are missing and could not be downloaded.
        ValueError: The files are damaged.
    """
    from torchvision.datasets import CIFAR10, CIFAR100

    dataset = CIFAR10 if kind == "cifar10" else CIFAR100
    files = FILES[kind]
    train = open_dataset(kind, root, files, lambda: dataset(str(root), train=True, download=True), progress)
    test = open_dataset(kind, root, files, lambda: dataset(str(root), train=False, download=True), progress)
    return Arrays(
        np.ascontiguousarray(train.data.transpose(0, 3, 1, 2)),
        np.array(train.targets, dtype=np.int64),
        np.ascontiguousarray(test.data.transpose(0, 3, 1, 2)),
        np.array(test.targets, dtype=np.int64),
        tuple(train.classes),
    )
