"""A data set in three parts."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from lpstudy.data.augment import positions
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

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def augmentations(self) -> int:
        """The number of distinct views of a training image."""
        return positions(self.pad, self.flip)

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

    def to(self, device: torch.device) -> "Data":
        """The same data on a device, with the images where they can be moved."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
        )
