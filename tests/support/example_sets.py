"""Tiny data sets of every kind in their published file formats, with the arrays of their images."""

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from torchvision import datasets

from lpstudy.data import DataSpec

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ExampleSet:
    """A data set as it must come out; images of shape (n, channels, height, width), in the order of files."""

    spec: DataSpec
    train_images: Pixels
    train_labels: npt.NDArray[np.int64]
    test_images: Pixels
    test_labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]


def pixels(count: int, channels: int, side: int, seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def write_idx(path: Path, values: npt.NDArray[np.uint8]) -> None:
    """The format of MNIST's files: magic number 0 0 8 (bytes) dimensions, sizes big-endian, values."""
    head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + values.tobytes())


def make_mnist(root: Path, count: int = 70) -> ExampleSet:
    train, test = pixels(count, 1, 28, seed=1), pixels(20, 1, 28, seed=2)
    train_labels, test_labels = np.arange(count) % 10, np.arange(20) % 10
    for part, images, labels in (("train", train, train_labels), ("t10k", test, test_labels)):
        write_idx(root / f"MNIST/raw/{part}-images-idx3-ubyte", images[:, 0])
        write_idx(root / f"MNIST/raw/{part}-labels-idx1-ubyte", labels.astype(np.uint8))
    names = tuple("0123456789")
    return ExampleSet(DataSpec(kind="mnist", root=root), train, train_labels, test, test_labels, names)


def write_pickle(path: Path, value: object) -> str:
    """Write it and give the MD5 sum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))
    return hashlib.md5(path.read_bytes()).hexdigest()


def make_cifar(kind: Literal["cifar10", "cifar100"], root: Path, patch: pytest.MonkeyPatch) -> ExampleSet:
    """CIFAR's pickles; their MD5 sums replace those that torchvision compares files with."""
    dataset = datasets.CIFAR10 if kind == "cifar10" else datasets.CIFAR100
    classes = 10 if kind == "cifar10" else 100
    key = "labels" if kind == "cifar10" else "fine_labels"
    folder = root / dataset.base_folder
    train, test = pixels(classes * 5, 3, 32, seed=3), pixels(classes * 2, 3, 32, seed=4)
    train_labels, test_labels = np.arange(len(train)) % classes, np.arange(len(test)) % classes
    for listed, images, labels in (
        ("train_list", train, train_labels),
        ("test_list", test, test_labels),
    ):
        files = [name for name, _ in getattr(dataset, listed)]
        chunks = zip(files, np.split(images, len(files)), np.split(labels, len(files)), strict=True)
        sums = [
            [name, write_pickle(folder / name, {"data": rows.reshape(len(rows), -1), key: some.tolist()})]
            for name, rows, some in chunks
        ]
        patch.setattr(dataset, listed, sums)
    names = tuple(f"thing {number}" for number in range(classes))
    md5 = write_pickle(folder / dataset.meta["filename"], {dataset.meta["key"]: list(names)})
    patch.setattr(dataset, "meta", {**dataset.meta, "md5": md5})
    return ExampleSet(DataSpec(kind=kind, root=root), train, train_labels, test, test_labels, names)


def save(path: Path, image: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(path)


def tree_images(
    side: int = 12,
) -> tuple[Pixels, npt.NDArray[np.int64], Pixels, npt.NDArray[np.int64], tuple[str, ...]]:
    """Three classes with 10 training and 4 test images each."""
    train, test = pixels(30, 3, side, seed=5), pixels(12, 3, side, seed=6)
    names = ("apple", "n0001", "zebra")
    return train, np.repeat(np.arange(3), 10), test, np.repeat(np.arange(3), 4), names


def make_tree(root: Path, spec: DataSpec, test_folder: str, side: int = 12) -> ExampleSet:
    """The images of `tree_images` as PNG, which loses nothing."""
    train, train_labels, test, test_labels, names = tree_images(side)
    for folder, images, labels in (("train", train, train_labels), (test_folder, test, test_labels)):
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            save(root / folder / names[label] / f"{number:03}.png", image)
    return ExampleSet(spec, train, train_labels, test, test_labels, names)
