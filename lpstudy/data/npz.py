"""Images in one .npz file of NumPy: train_images, train_labels, test_images, test_labels, as in MedMNIST.

Source: Yang et al., "MedMNIST v2", 2023; Keras, `keras.datasets`, for x_train and its like.
"""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from lpstudy.data.array_cache import scratch_array
from lpstudy.data.arrays import Arrays
from lpstudy.data.class_labels import classes_of
from lpstudy.data.data_files import DataFile, find_files, place_of
from lpstudy.data.downloads import open_file
from lpstudy.data.progress_line import with_progress
from lpstudy.data.test_part import CUT_REMARK, VALIDATION_REMARK, rows_of_parts
from lpstudy.one_line import one_line

NAMES = {
    "train": (("train_images", "train_labels"), ("x_train", "y_train"), ("images", "labels")),
    "validation": (
        ("val_images", "val_labels"),
        ("validation_images", "validation_labels"),
        ("x_val", "y_val"),
    ),
    "test": (("test_images", "test_labels"), ("x_test", "y_test")),
}
"""The names of each part's images and labels."""
LARGEST_SMALL_ARRAY = 2**30
"""Most bytes of an array of labels or class names."""
CHANNELS = (1, 3)
CHUNK = 2**22
"""Bytes of images that are read at once, about."""
EXPECTED = "train_images, train_labels, test_images and test_labels"


def npz_file(root: Path | str) -> DataFile:
    """The file at a path or URL, or the only one in a folder.

    Raises:
        FileNotFoundError: There is none.
        ValueError: There are several.
    """
    try:
        files = find_files([root], ".npz")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"npz is not in {place_of(root)}: {error}; expected there one file with {EXPECTED}"
        ) from error
    if len(files) > 1:
        names = ", ".join(repr(file.name) for file in files[:5])
        raise ValueError(f"{place_of(root)} has {len(files)} files, [data] root must name one: {names}")
    return files[0]


def read_npz(file: DataFile, *, progress: bool) -> Arrays:
    """Read a file; its images go to the cache's disk, so that they may be larger than the memory.

    Raises:
        ValueError: It is damaged, an array is missing, has another type or shape, or a label is no class.
    """
    try:
        with open_file(file, progress=progress) as opened, zipfile.ZipFile(opened) as archive:
            return _read(_Archive(file.name, archive), progress)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{file.name!r} is no .npz file, or a damaged one: {error}") from error


@dataclass(frozen=True, slots=True)
class _Archive:
    """The arrays of an open .npz file, none of which is unpickled."""

    name: str
    archive: zipfile.ZipFile

    def has(self, array: str) -> bool:
        """Whether the file has an array."""
        return f"{array}.npy" in self.archive.namelist()

    def small(self, array: str) -> npt.NDArray[Any]:
        """An array of labels or names.

        Raises:
            ValueError: It holds objects, or is too large.
        """
        with self.archive.open(f"{array}.npy") as file:
            shape, _, dtype = self._header(array, cast(BinaryIO, file))
            if int(np.prod(shape, dtype=object)) * dtype.itemsize > LARGEST_SMALL_ARRAY:
                raise ValueError(f"{self.name!r}: {array} of shape {shape} is too large")
        with self.archive.open(f"{array}.npy") as file:
            values: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return values

    def shape(self, array: str) -> tuple[int, ...]:
        """The shape of an array of images in the order of their bytes.

        Raises:
            ValueError: It is not uint8, or of another order.
        """
        with self.archive.open(f"{array}.npy") as file:
            shape, is_fortran, dtype = self._header(array, cast(BinaryIO, file))
        if dtype != np.uint8:
            raise ValueError(f"{self.name!r}: {array} must be uint8 but is {dtype}")
        if is_fortran:
            raise ValueError(f"{self.name!r}: {array} is in Fortran's order: save a copy in C's order")
        return shape

    def copy_images(
        self, array: str, target: npt.NDArray[np.uint8], layout: "_Layout", progress: bool
    ) -> None:
        """Read images into an array of shape (n, channels, height, width).

        Raises:
            ValueError: The file ends within them.
        """
        size = target[0].size
        step = max(1, CHUNK // size)
        starts = range(0, len(target), step)
        with self.archive.open(f"{array}.npy") as file:
            self._header(array, cast(BinaryIO, file))
            for start in with_progress(starts, f"reading {array}", total=len(starts), progress=progress):
                some = target[start : start + step]
                content = file.read(some.size)
                if len(content) < some.size:
                    raise ValueError(f"{self.name!r} is damaged: it ends within {array}")
                some[...] = layout.channels_first(np.frombuffer(content, dtype=np.uint8))

    def _header(self, array: str, file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        """Shape, whether in Fortran's order, and type."""
        try:
            is_first_version = np.lib.format.read_magic(file) == (1, 0)
            read = (
                np.lib.format.read_array_header_1_0
                if is_first_version
                else np.lib.format.read_array_header_2_0
            )
            shape, is_fortran, dtype = read(file)
        except ValueError as error:
            raise ValueError(f"{self.name!r} is damaged: {array}: {one_line(error, 200)}") from error
        if dtype.hasobject:
            raise ValueError(f"{self.name!r}: {array} holds Python objects, which are never unpickled")
        return shape, is_fortran, dtype


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where an array of images has its channels."""

    shape: tuple[int, ...]
    """Of one image as it is in the file."""
    last: bool
    """Whether the channels are the last axis."""

    @classmethod
    def of(cls, where: str, shape: tuple[int, ...]) -> "_Layout":
        """The layout of (n, height, width), with channels in front of these or behind them.

        Raises:
            ValueError: The shape is another, or may be read in both ways.
        """
        if len(shape) == 3 and 0 not in shape:
            return cls((1, *shape[1:]), last=False)
        first, last = (len(shape) == 4 and 0 not in shape and shape[axis] in CHANNELS for axis in (1, -1))
        if first and last:
            raise ValueError(f"{where} has shape {shape}: whether channels are first or last is not clear")
        if not first and not last:
            raise ValueError(
                f"{where} must have shape (n, height, width), (n, height, width, channels) or"
                f" (n, channels, height, width), with 1 or 3 channels and n above 0, but has {shape}"
            )
        return cls(shape[1:], last=last)

    @property
    def result(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        axes = (2, 0, 1) if self.last else (0, 1, 2)
        return self.shape[axes[0]], self.shape[axes[1]], self.shape[axes[2]]

    def channels_first(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Images from their bytes, shape (n, channels, height, width)."""
        images = pixels.reshape(-1, *self.shape)
        return images.transpose(0, 3, 1, 2) if self.last else images


def _read(archive: _Archive, progress: bool) -> Arrays:
    """All parts of an open file."""
    parts = _parts(archive)
    shapes = {part: archive.shape(name) for part, (name, _) in parts.items()}
    layouts = {
        part: _Layout.of(f"{archive.name!r}: {name}", shapes[part]) for part, (name, _) in parts.items()
    }
    first = layouts["train"].result
    for part, (name, _) in parts.items():
        if layouts[part].result != first:
            raise ValueError(
                f"{archive.name!r}: images of {name} have shape {layouts[part].shape}, those of"
                f" {parts['train'][0]} {layouts['train'].shape}"
            )
    labels = {part: _labels(archive, name, shapes[part][0]) for part, (_, name) in parts.items()}
    class_names = archive.small("class_names") if archive.has("class_names") else None
    try:
        classes = classes_of(
            labels, None if class_names is None else [str(name) for name in class_names.reshape(-1)]
        )
    except ValueError as error:
        raise ValueError(f"{archive.name!r}: {error}") from error
    counts = {part: shapes[part][0] for part in classes.labels}
    learning = [part for part in ("train", "validation") if part in counts]
    images = scratch_array((sum(counts[part] for part in learning), *first))
    filled = 0
    for part in learning:
        archive.copy_images(parts[part][0], images[filled : filled + counts[part]], layouts[part], progress)
        filled += counts[part]
    all_labels = np.concatenate([classes.labels[part] for part in learning])
    if "test" not in counts:
        arrays = _without_test(images, all_labels, classes.names, counts.get("validation", 0))
        return replace(arrays, remarks=(*classes.remarks, *arrays.remarks))
    test = scratch_array((counts["test"], *first))
    archive.copy_images(parts["test"][0], test, layouts["test"], progress)
    validation = counts.get("validation", 0)
    arrays = Arrays(images, all_labels, test, classes.labels["test"], classes.names, validation=validation)
    return replace(arrays, remarks=classes.remarks)


def _without_test(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], names: tuple[str, ...], validation: int
) -> Arrays:
    """Without a test part the validation part is it; without both, it is cut."""
    if validation:
        first = len(labels) - validation
        parts = (images[:first], labels[:first], images[first:], labels[first:])
        return Arrays(*parts, names, remarks=(VALIDATION_REMARK,))
    train, test = rows_of_parts(labels, names)
    return Arrays(images[train], labels[train], images[test], labels[test], names, remarks=(CUT_REMARK,))


def _parts(archive: _Archive) -> Mapping[str, tuple[str, str]]:
    """The names of each part's images and labels.

    Raises:
        ValueError: There is no training set, or a part has no labels.
    """
    parts: dict[str, tuple[str, str]] = {}
    for part, pairs in NAMES.items():
        for images, labels in pairs:
            if archive.has(images):
                if not archive.has(labels):
                    raise ValueError(f"{archive.name!r} has {images} but no {labels}")
                parts[part] = images, labels
                break
    if "train" not in parts:
        arrays = ", ".join(repr(name.removesuffix(".npy")) for name in archive.archive.namelist()[:20])
        raise ValueError(f"{archive.name!r} has no {EXPECTED} but {arrays[:300] or 'no arrays'}")
    return parts


def _labels(archive: _Archive, name: str, count: int) -> list[int | str]:
    """Labels of shape (n,) or (n, 1), whole numbers or texts."""
    values = archive.small(name)
    if values.dtype.kind not in "iuU" or values.shape not in ((count,), (count, 1)):
        raise ValueError(
            f"{archive.name!r}: {name} must be whole numbers or texts of shape ({count},) but are"
            f" {values.dtype} of shape {values.shape}"
        )
    return cast(list[int | str], values.reshape(-1).tolist())
