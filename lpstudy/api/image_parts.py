"""Images and labels of a program, as a data set in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.utils.data import Dataset

from lpstudy.damage import problem_of
from lpstudy.data import Data, DataSpec
from lpstudy.data.array_cache import Entry
from lpstudy.data.arrays import pixel_sums
from lpstudy.data.construction import data_from_entry
from lpstudy.data.pixel_statistics import Statistics
from lpstudy.data.torch_datasets import arrays_of

Array = npt.NDArray[Any] | Tensor
Images = tuple[Array, Array] | Dataset[Any]
"""Images, uint8, shape (n, channels, height, width), and integer labels, shape (n,); or a map-style data set
of torch."""
NAME = "images"
KIND = "image_folder"
"""Any kind whose keys of [data] are those of all images."""


class _Pairs(Dataset[tuple[npt.NDArray[Any], object]]):
    """Images and labels as a map-style data set."""

    def __init__(self, images: Array, labels: Array, part: str) -> None:
        self._images, self._labels = (np.asarray(values) for values in (images, labels))
        if self._labels.shape != self._images.shape[:1]:
            raise ValueError(
                f"{part}: labels must have shape ({len(self._images)},) but have {self._labels.shape}"
            )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], object]:
        return self._images[index], self._labels[index]


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """How images become batches."""

    augmentation: Mapping[str, Any]
    """Keys of [data] in a study file."""
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None
    """Mean and standard deviation per channel; None: those of the training images."""
    class_names: tuple[str, ...] | None
    """None: those of the data set, or numbers."""


def data_of(parts: Mapping[str, Images | None], settings: ImageSettings) -> Data:
    """A data set in memory of the images of a program; without a test set the validation part replaces it.

    Args:
        parts: `train`, `validation` and `test`; the last may be None.
        settings: Normalisation and augmentation.

    Raises:
        ValueError: One line: the images and settings are no data set.
    """
    sets = {name: _dataset(part, name) for name, part in parts.items() if part is not None}
    arrays = arrays_of({"test": sets["validation"], **sets}, Path(), name=NAME)
    if settings.class_names is not None:
        arrays = replace(arrays, class_names=tuple(settings.class_names))
    try:
        arrays = arrays.checked()
        spec = DataSpec.model_validate({"kind": KIND, **settings.augmentation})
    except ValidationError as error:
        raise ValueError(f"augmentation: {problem_of(error)}") from None
    entry = Entry(arrays, pixel_sums(arrays.train_images), arrays.digest())
    statistics = None
    if settings.statistics is not None:
        mean, std = settings.statistics
        statistics = Statistics(mean=tuple(mean), std=tuple(std))
        channels = arrays.train_images.shape[1]
        if not len(mean) == len(std) == channels:
            raise ValueError(f"statistics: mean and std must have {channels} values, one a channel")
    return data_from_entry(entry, spec, NAME, statistics)


def _dataset(part: Images, name: str) -> Dataset[Any]:
    if isinstance(part, Dataset):
        return part
    if isinstance(part, tuple | list) and len(part) == 2:
        return _Pairs(*part, name)
    raise ValueError(f"{name}: must be (images, labels) or a torch Dataset but is {type(part).__name__}")


def as_device(device: torch.device | str | None) -> torch.device:
    """A device by its name; None: the first GPU, or the CPU without one.

    Raises:
        ValueError: There is no such device.
    """
    try:
        return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ValueError(f"device: {str(error).splitlines()[0]}") from None
