"""Map-style data sets of torch, read once into arrays."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, IterableDataset

from lpstudy.data.arrays import Arrays, arrays_with_test_part
from lpstudy.data.colours import to_opaque_rgb
from lpstudy.data.progress_line import with_progress
from lpstudy.one_line import one_line
from lpstudy.user_lines import user_line

PARTS = ("train", "validation", "test")
REREAD = 8
"""Images of each part that are read twice; a random flip of each stays unseen once in 256 sets."""
QUIET_SECONDS = 2.0
"""Seconds of reading before a progress line is shown."""
COLOURS = (1, 3)
"""Channels of an image."""
Pixels = npt.NDArray[np.uint8]


def arrays_of(source: object, root: Path, *, name: str, progress: bool = False) -> Arrays:
    """The arrays of what imported code gives as data.

    Args:
        source: `Arrays`; a map-style data set, whose items are pairs of an image and the number of its class;
            a pair of a training and a test set; a mapping of `train` and, where they exist, `test` and
            `validation`; or a function that gets the folder of the data and returns one of these. An image is
            Pillow's, an array of uint8 (rows, columns) or with channels first or last, or a tensor of uint8.
            Where there is no test set, a third of every class is cut. Class names are the data set's
            `classes`, or else the numbers.
        root: The folder of the data.
        name: The data set's name in messages.
        progress: Show a progress line.

    Raises:
        ValueError: One line: code fails, or gives something else, or images that are not the same each time.
    """
    if callable(source) and not isinstance(source, Dataset):
        source = source(root)
    if isinstance(source, Arrays):
        return source
    parts = _parts(source, name)
    names = _class_names(parts["train"])
    images, labels, transparent = {}, {}, 0
    for part, data_set in parts.items():
        reader = _Reader(data_set, f"{name}: {part}")
        images[part], labels[part] = reader.read(progress=progress)
        transparent += reader.transparent
    colours = max(len(values[0]) for values in images.values())
    images = {part: _in_colours(values, colours) for part, values in images.items()}
    if names is None:
        names = tuple(str(label) for label in range(max(int(values.max()) for values in labels.values()) + 1))
    if "test" not in parts:
        arrays = arrays_with_test_part(images["train"], labels["train"], names)
    else:
        arrays = Arrays(images["train"], labels["train"], images["test"], labels["test"], names)
    arrays = replace(arrays, transparent=transparent)
    if "validation" in parts:
        arrays = arrays.with_validation_part(images["validation"], labels["validation"])
    return arrays


def _parts(source: object, name: str) -> dict[str, Dataset[Any]]:
    match source:
        case Dataset():
            parts: dict[str, Any] = {"train": source}
        case (train, test):
            parts = {"train": train, "test": test}
        case Mapping() if "train" in source and source.keys() <= {*PARTS}:
            parts = {part: source[part] for part in PARTS if part in source}
        case Mapping():
            keys = ", ".join(map(str, source)) or "none"
            raise ValueError(f"{name}: the parts are train, and test and validation if any, but are {keys}")
        case _:
            raise ValueError(
                f"{name}: must give Arrays, a torch Dataset, a pair (train, test) or a dict of them,"
                f" but gave {type(source).__name__}"
            )
    for part, data_set in parts.items():
        if isinstance(data_set, IterableDataset) or not (
            hasattr(data_set, "__len__") and hasattr(data_set, "__getitem__")
        ):
            kind = type(data_set).__name__
            raise ValueError(f"{name}: {part} must be a map-style Dataset, with a length, but is {kind}")
    return parts


def _class_names(data_set: object) -> tuple[str, ...] | None:
    """The attribute `classes`, also of the set that a subset or a concatenation is made of."""
    names = getattr(data_set, "classes", None)
    if names is not None:
        return tuple(str(name) for name in names)
    inner = getattr(data_set, "dataset", None) or next(iter(getattr(data_set, "datasets", ())), None)
    return None if inner is None else _class_names(inner)


class _Reader:
    """Reads one part."""

    def __init__(self, data_set: Any, name: str) -> None:
        self._data_set, self._name = data_set, name
        self._shape: tuple[int, ...] = ()
        self.transparent = 0
        """Images with pixels that are not opaque."""

    def read(self, *, progress: bool) -> tuple[Pixels, npt.NDArray[np.int64]]:
        """Images, shape (n, channels, rows, columns), and labels."""
        count = len(self._data_set)
        if count < 1:
            raise ValueError(f"{self._name} has no images")
        labels = np.empty(count, dtype=np.int64)
        images: Pixels | None = None
        rows = with_progress(range(count), self._name, total=count, progress=progress, delay=QUIET_SECONDS)
        for index in rows:
            pixels, labels[index] = self._item(index)
            if images is None:
                images = np.empty((count, *pixels.shape), dtype=np.uint8)
            if pixels.shape[1:] != images.shape[2:]:
                sizes = f"{_size(pixels)} pixels, but the first image {_size(images[0])}"
                raise ValueError(f"{self._name}[{index}] has {sizes}: all must have one size")
            if len(pixels) > images.shape[1]:
                images = _in_colours(images, len(pixels))
            images[index] = pixels
        assert images is not None
        transparent = self.transparent
        for index in sorted({index * (count - 1) // (REREAD - 1) for index in range(REREAD)}):
            again, label = self._item(index)
            if label != labels[index] or not np.array_equal(
                _in_colours(again[None], images.shape[1])[0], images[index]
            ):
                raise ValueError(
                    f"{self._name}[{index}] is not the same when it is read again: leave random transforms"
                    " out, for [data] has pad, flip, crop and augment"
                )
        self.transparent = transparent  # not those that were read again
        return images, labels

    def _item(self, index: int) -> tuple[Pixels, int]:
        where = f"{self._name}[{index}]"
        try:
            item = self._data_set[index]
        except Exception as error:  # of any kind: it may be that of one's own code
            place = f"{user_line(error)}: " if user_line(error) else ""
            raise ValueError(f"{where}: {place}{type(error).__name__}: {one_line(error)}") from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ValueError(f"{where} must be a pair (image, label) but is {_kind(item)}")
        image, label = item
        if isinstance(label, torch.Tensor | np.ndarray) and label.ndim == 0:
            label = label.item()
        if isinstance(label, bool) or not isinstance(label, int | np.integer):
            raise ValueError(f"{where}: the label must be a whole number but is {_kind(label)}")
        return self._pixels(image, where), int(label)

    def _pixels(self, image: object, where: str) -> Pixels:
        if hasattr(image, "getbands"):
            return self._pillow_pixels(image, where)
        is_tensor = isinstance(image, torch.Tensor)
        values = image.numpy(force=True) if isinstance(image, torch.Tensor) else image
        if not isinstance(values, np.ndarray) or values.dtype != np.uint8:
            raise ValueError(
                f"{where}: the image is {_kind(image)}: it must be Pillow's or of uint8, so leave out"
                " ToTensor and Normalize, for lpstudy normalises"
            )
        if values.ndim == 2:
            return values[None]
        if values.ndim == 3 and not is_tensor and values.shape[2] in COLOURS:
            return values.transpose(2, 0, 1)
        if values.ndim == 3 and values.shape[0] in COLOURS:
            return values
        forms = "(rows, columns) or (1 or 3, rows, columns)" + (
            "" if is_tensor else ", or with channels last"
        )
        raise ValueError(f"{where}: the image must have shape {forms} but has {values.shape}")

    def _pillow_pixels(self, image: Any, where: str) -> Pixels:
        if image.mode in ("1", "L"):
            return np.asarray(image.convert("L"))[None]
        try:
            colours, transparent = to_opaque_rgb(image)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        self.transparent += transparent
        return np.asarray(colours).transpose(2, 0, 1)


def _in_colours(images: Pixels, colours: int) -> Pixels:
    """Grey images as colours; others unchanged."""
    return images if images.shape[1] == colours else np.repeat(images, colours, axis=1)


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[2]}x{pixels.shape[1]}"


def _kind(value: object) -> str:
    if isinstance(value, torch.Tensor | np.ndarray):
        word = "a tensor" if isinstance(value, torch.Tensor) else "an array"
        return f"{word} of {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__
