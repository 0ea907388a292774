"""A data set in three parts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from lpstudy.data.corruptions import CorruptedPixels, Corruption
from lpstudy.data.partition import subset_per_class
from lpstudy.data.pixels import select_pixels
from lpstudy.data.split import Split

Resizing = Literal["centre_square", "none"]


@dataclass(frozen=True, eq=False, slots=True)
class Data:
    """A data set, split, ready to give batches."""

    name: str
    """The kind; of a folder of images and of imagenet, the name of the folder."""
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]
    """Channels, height, width."""
    train: Split
    validation: Split
    """A part of the training set that hyperparameters are chosen by."""
    test: Split
    """The test set, read once by the finals."""
    mean: tuple[float, ...]
    """Mean per channel of the training part's pixels in [0, 1] (imagenet: its usual figures)."""
    std: tuple[float, ...]
    """Standard deviation, likewise."""
    fingerprint: str
    """SHA-256, in hexadecimal, of the images and of the spec's settings of pixels, labels and split."""
    pad: int
    flip: bool
    remarks: tuple[str, ...] = ()
    """Treatment of the files that may surprise their owner, one line each."""
    resizing: Resizing = "none"
    """The way of files to the input's size: resized and cut (see `lpstudy.data.images`), or unchanged."""
    resize: int | None = None
    """Pixels of the shorter side before the centre square is cut out; None: those of the square."""

    labels_per_class: int | None = None
    """The number of labels of each class in the training part; None: all."""
    split_seed: int = 0
    """Seed of the choice of these labels."""
    whole: Split | None = None
    """The training part with all its labels, from which `labelled` takes some; None: `train` is it."""

    shifts: Mapping[str, Split] = field(default_factory=dict)
    """Corrupted copies of the test set, by corruption and severity: noise_1; read by finals alone."""

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def augmentations(self) -> int:
        """The number of distinct views of a training image; `UNLIMITED` where they are drawn."""
        return self.train.preprocessing.distinct_views

    @property
    def views(self) -> int:
        """The number of views in use, one in each epoch."""
        return self.train.views

    def with_views(self, views: int) -> "Data":
        """The same data with this number of views of each training image.

        Raises:
            ValueError: The number is below 1 or above that of the distinct views.
        """
        return replace(self, train=self.train.with_views(views))

    def with_shifts(self, pairs: Sequence[tuple[Corruption, int]]) -> "Data":
        """The same data with corrupted copies of the test set; call it while the images are on the CPU.

        Raises:
            ValueError: The images have a number of channels that a corruption does not take.
        """
        channels = self.input_shape[0]
        if channels not in (1, 3) and any(name == "jpeg" for name, _ in pairs):
            raise ValueError(
                f"shift.corruptions: jpeg takes images of 1 or 3 channels but they have {channels}"
            )
        shifts = {
            f"{name}_{severity}": replace(self.test, pixels=CorruptedPixels(self.test.pixels, name, severity))
            for name, severity in pairs
        }
        return replace(self, shifts=shifts)

    def labelled(self, labels_per_class: int | None) -> "Data":
        """The same data whose training part has so many images of each class, all with labels; None: all.

        More labels add images to the same ones. Raises a ValueError where a class has fewer.
        """
        if labels_per_class == self.labels_per_class and self.train.mixture is None:
            return self
        whole = self.whole or self.train
        rows = torch.arange(len(whole))
        if labels_per_class is not None:
            names, seed = self.class_names, self.split_seed
            rows = subset_per_class(whole.labels, labels_per_class, seed=seed, names=names)
        train = replace(whole, pixels=select_pixels(whole.pixels, rows), labels=whole.labels[rows])
        content = hashlib.sha256(f"{self.fingerprint} {labels_per_class}".encode()).hexdigest()
        return replace(self, train=train, fingerprint=content, labels_per_class=labels_per_class)

    def labelled_alone(self) -> "Data":
        """The same data whose batches have no unlabelled images."""
        return replace(self, train=self.train.labelled_alone())

    def to(self, device: torch.device) -> "Data":
        """The same data on a device, with the images where they can be moved."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
            shifts={name: split.to(device) for name, split in self.shifts.items()},
        )
