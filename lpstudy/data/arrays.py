"""A data set's images and labels as NumPy arrays."""

import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lpstudy.data.test_part import rows_of_parts


@dataclass(frozen=True, eq=False, slots=True)
class Arrays:
    """A decoded data set with its training set and its test set."""

    train_images: npt.NDArray[np.uint8]
    """Shape (n, channels, height, width)."""
    train_labels: npt.NDArray[np.int64]
    """Positions in `class_names`, shape (n,)."""
    test_images: npt.NDArray[np.uint8]
    """Shape (m, channels, height, width)."""
    test_labels: npt.NDArray[np.int64]
    """Shape (m,)."""
    class_names: tuple[str, ...]
    transparent: int = 0
    """The number of files with pixels that are not opaque."""
    validation: int = 0
    """The number of images of an official validation part, the last ones of the training set; 0: none."""
    remarks: tuple[str, ...] = ()
    """One line for each part that is cut, or left out."""

    def checked(self) -> "Arrays":
        """The same data set with labels of any integer type as int64.

        Raises:
            ValueError: Images are not uint8 of four dimensions, or empty; the sets differ in their images'
                shape; a label is no position in the class names; a training set lacks a class.
        """
        names = tuple(self.class_names)
        if len(names) < 2 or not all(isinstance(name, str) for name in names):
            raise ValueError(f"class_names must be two or more texts but are {names!r}")
        train_images, train_labels = _checked_part("train", self.train_images, self.train_labels, names)
        test_images, test_labels = _checked_part("test", self.test_images, self.test_labels, names)
        if train_images.shape[1:] != test_images.shape[1:]:
            raise ValueError(
                f"an image has shape {train_images.shape[1:]} in train_images"
                f" but {test_images.shape[1:]} in test_images"
            )
        if not 0 <= self.validation < len(train_labels):
            raise ValueError(f"validation must lie in [0, {len(train_labels)}) but is {self.validation}")
        training = train_labels[: len(train_labels) - self.validation]
        missing = sorted({*range(len(names))} - {*training.tolist()})
        if missing:
            raise ValueError(f"train_labels have no image of class {names[missing[0]]!r}")
        return replace(
            self,
            train_images=train_images,
            train_labels=train_labels,
            test_images=test_images,
            test_labels=test_labels,
            class_names=names,
        )

    def with_validation_part(
        self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer]
    ) -> "Arrays":
        """The same data set with an official validation part, which hyperparameters are chosen by.

        Args:
            images: uint8, of the shape of the training images.
            labels: Positions in `class_names`, shape (n,).
        """
        return replace(
            self,
            train_images=np.concatenate([self.train_images, images]),
            train_labels=np.concatenate([self.train_labels, labels]),
            validation=len(labels),
        )

    def digest(self) -> str:
        """SHA-256 of the images, labels and names, in hexadecimal."""
        total = hashlib.sha256(json.dumps(self.class_names).encode())
        for values in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            total.update(f"{values.dtype}{values.shape}".encode())
            total.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
        if self.validation:
            total.update(f"validation {self.validation}".encode())
        return total.hexdigest()


def arrays_with_test_part(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer], class_names: tuple[str, ...]
) -> Arrays:
    """Cut a test set from a data set that has none: a third of every class, always the same images.

    Args:
        images: uint8, shape (n, channels, height, width).
        labels: Positions in `class_names`, any integer type, shape (n,).
        class_names: Names of the classes.

    Raises:
        ValueError: Images or labels have another type or shape, or a class has one image.
    """
    images, labels = _checked_part("", images, labels, class_names)
    train, test = rows_of_parts(labels, class_names)
    return Arrays(images[train], labels[train], images[test], labels[test], class_names)


def _checked_part(
    part: str, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer], names: tuple[str, ...]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    prefix = f"{part}_" if part else ""
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"{prefix}images must be uint8 of shape (n, channels, height, width)"
            f" but are {images.dtype} of shape {images.shape}"
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{prefix}labels must be integers of shape ({len(images)},)"
            f" but are {labels.dtype} of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(
            f"{prefix}labels must lie in [0, {len(names)}), the number of class names,"
            f" but reach from {labels.min()} to {labels.max()}"
        )
    return images, labels.astype(np.int64)


def pixel_sums(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Sums of the pixels and of their squares, exact; int64, shape (n, channels, 2)."""
    sums = np.empty((*images.shape[:2], 2), dtype=np.int64)
    pixels = images.reshape(*images.shape[:2], -1)
    step = max(1, 2**22 // pixels[0].size)  # 16 MiB at a time
    for start in range(0, len(images), step):
        chunk = pixels[start : start + step].astype(np.uint32)
        sums[start : start + step, :, 0] = chunk.sum(axis=2)
        sums[start : start + step, :, 1] = np.square(chunk).sum(axis=2)
    return sums
