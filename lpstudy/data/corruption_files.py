"""The official files of CIFAR-10-C and CIFAR-100-C: one .npy of images for each corruption, and labels.npy.

Source: Hendrycks and Dietterich (2019), ICLR, arXiv 1903.12261; doi 10.5281/zenodo.2535967 (CIFAR-10-C) and
10.5281/zenodo.3555552 (CIFAR-100-C).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpstudy.data.corruptions import SEVERITIES
from lpstudy.one_line import one_line

LABELS = "labels.npy"
MOST_FILES = 100
"""The most corruptions of a folder."""


@dataclass(frozen=True, eq=False, slots=True)
class FilePixels:
    """Consecutive images of a .npy file, mapped into memory and copied as they are read."""

    images: NDArray[np.uint8]
    """Shape (all, height, width, channels)."""
    first: int
    """The position of the first one."""

    def read(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Read the images of one batch after the other: see `Pixels.read`."""
        for samples in batches:
            images = self.images[self.first + samples.cpu().numpy()]
            yield torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))

    def to(self, device: torch.device) -> "FilePixels":
        """This source: its images stay in the file."""
        del device
        return self


def corruption_files(
    folder: Path, severities: Sequence[int], labels: Tensor, input_shape: tuple[int, int, int]
) -> dict[str, FilePixels]:
    """The images of each corruption and severity, by name: "gaussian_noise_1".

    Args:
        folder: The folder of the files.
        severities: Which of the five blocks of each file.
        labels: The class of each test image of the study, shape (n,); the files must have the same.
        input_shape: Channels, height and width of the study's images.

    Raises:
        ValueError: A file is missing, damaged, of another shape, or has other labels or another order.
    """
    if not folder.is_dir():
        raise ValueError(f"shift.cifar_c: {folder} is no folder")
    files = sorted(path for path in folder.glob("*.npy") if path.name != LABELS)
    if not 0 < len(files) <= MOST_FILES:
        raise ValueError(f"shift.cifar_c: {folder} must have 1 to {MOST_FILES} .npy files besides {LABELS}")
    _check_labels(folder / LABELS, labels)
    n = len(labels)
    channels, height, width = input_shape
    shape = (len(SEVERITIES) * n, height, width, channels)
    sources: dict[str, FilePixels] = {}
    for path in files:
        images = _mapped(path)
        if images.dtype != np.uint8 or images.shape != shape:
            raise ValueError(
                f"shift.cifar_c: {path.name} must be uint8 of shape {shape}, the study's {n} test images in"
                f" five severities, but is {images.dtype} of shape {images.shape}"
            )
        for severity in severities:
            sources[f"{path.stem}_{severity}"] = FilePixels(images, (severity - 1) * n)
    return sources


def _check_labels(path: Path, labels: Tensor) -> None:
    """Refuse files of other images, or in another order, than the study's test set."""
    stored, expected = _mapped(path), labels.cpu().numpy()
    if stored.dtype.kind not in "iu" or stored.shape != (len(SEVERITIES) * len(expected),):
        raise ValueError(
            f"shift.cifar_c: {LABELS} must be integers of shape ({len(SEVERITIES) * len(expected)},), the"
            f" study's {len(expected)} test images in five severities, but is {stored.dtype} of shape"
            f" {stored.shape}"
        )
    differing = np.flatnonzero(stored.reshape(len(SEVERITIES), -1) != expected)
    if len(differing):
        place = int(differing[0])
        raise ValueError(
            f"shift.cifar_c: {LABELS} is {int(stored[place])} at {place} but the study's test image"
            f" {place % len(expected)} is of class {int(expected[place % len(expected)])}: images and order"
            " must be those of the test set"
        )


def _mapped(path: Path) -> NDArray[Any]:
    """A .npy file mapped into memory; nothing of it is unpickled."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"shift.cifar_c: {path.name}: {one_line(error)}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"shift.cifar_c: {path.name} is no array")
    return array
