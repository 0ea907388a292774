"""From a spec to splits that give batches."""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from lpstudy.data.arrays import Entry, cached
from lpstudy.data.augment import positions
from lpstudy.data.digits import read_digits
from lpstudy.data.partition import few_of_each, stratified
from lpstudy.data.spec import DataSpec
from lpstudy.data.split import ArraySplit, Preprocessing, Split

SMALLEST_STD = 1 / 255
"""A channel that never changes is not divided by zero."""


@dataclass(frozen=True, eq=False, slots=True)
class Data:
    """A data set, split, ready to give batches."""

    name: str
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]
    """Channels, height, width."""
    train: Split
    validation: Split
    """Cut from the training set; chooses hyperparameters."""
    test: Split
    """Read once, in the finals."""
    mean: tuple[float, ...]
    """Of the training part's pixels in [0, 1], per channel; batches are normalised by it."""
    std: tuple[float, ...]
    """Likewise."""
    fingerprint: str
    """SHA-256, in hexadecimal, of the images and of what the spec says of pixels, labels and the split."""
    pad: int
    flip: bool

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def augmentations(self) -> int:
        """How many distinct views a training image has."""
        return positions(self.pad, self.flip)


def default_root() -> Path:
    """Where data sets are kept: LPSTUDY_DATA, by default ~/.cache/lpstudy."""
    return Path(os.environ.get("LPSTUDY_DATA") or "~/.cache/lpstudy").expanduser()


def load(spec: DataSpec, *, root: Path | None = None, progress: bool = False) -> Data:
    """The data set that the spec describes.

    Args:
        spec: The data set.
        root: The folder that holds the data; goes before the spec's, which goes before `default_root()`.
        progress: Show a progress line on standard error while files are listed, decoded or downloaded.

    Raises:
        FileNotFoundError: Files are missing and cannot be downloaded.
        ValueError: Files are not what they should be, or the spec does not fit them.
    """
    match spec.kind:
        case "digits":
            return _in_memory(spec, cached(["digits"], read_digits), spec.kind)
        case _:
            raise ValueError(f"{spec.kind} is not built yet")


def _in_memory(spec: DataSpec, entry: Entry, name: str) -> Data:
    arrays = entry.arrays
    labels = torch.from_numpy(arrays.train_labels)
    train, validation = _parts(spec, labels)
    _, channels, height, width = arrays.train_images.shape
    sums = torch.from_numpy(entry.moments)[train].sum(dim=0).tolist()
    pixels = len(train) * height * width
    mean = tuple(total / pixels / 255 for total, _ in sums)
    std = tuple(
        max(math.sqrt(max(squares / pixels - (total / pixels) ** 2, 0)) / 255, SMALLEST_STD)
        for total, squares in sums
    )
    plain = Preprocessing(mean, std)
    views = Preprocessing(mean, std, spec.pad, spec.flip, spec.split_seed)
    images = torch.from_numpy(arrays.train_images)
    test_labels = torch.from_numpy(arrays.test_labels)
    return Data(
        name=name,
        class_names=arrays.class_names,
        input_shape=(channels, height, width),
        train=ArraySplit(images, train, labels[train], views),
        validation=ArraySplit(images, validation, labels[validation], plain),
        test=ArraySplit(
            torch.from_numpy(arrays.test_images), torch.arange(len(test_labels)), test_labels, plain
        ),
        mean=mean,
        std=std,
        fingerprint=_fingerprint(spec, entry.content),
        pad=spec.pad,
        flip=spec.flip,
    )


def _parts(spec: DataSpec, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions of the training and the validation part within the training set."""
    train, validation = stratified(
        labels, spec.validation_fraction, seed=spec.split_seed, purpose="validation"
    )
    if spec.labels_per_class is not None:
        train = train[few_of_each(labels[train], spec.labels_per_class, seed=spec.split_seed)]
    return train, validation


def _fingerprint(spec: DataSpec, content: str) -> str:
    chosen = [spec.validation_fraction, spec.split_seed, spec.labels_per_class, spec.pad, spec.flip]
    return hashlib.sha256(json.dumps([content, *chosen]).encode()).hexdigest()
