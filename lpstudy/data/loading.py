"""Loading of a data set: from its spec to splits that give batches."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lpstudy import environment
from lpstudy.data import cifar, imagenet, mnist
from lpstudy.data.arrays import FORMAT, Arrays, Entry, load_or_decode
from lpstudy.data.augment import positions
from lpstudy.data.digits import digits_version, read_digits
from lpstudy.data.download import source_of
from lpstudy.data.image_folder import check_sizes, decode_all, first_size, list_image_folder
from lpstudy.data.imagenet import list_imagenet
from lpstudy.data.listing import Files, Listing
from lpstudy.data.partition import stratified_split, subset_per_class
from lpstudy.data.pixel_statistics import Statistics, measure, statistics_of
from lpstudy.data.remarks import transparency_remark
from lpstudy.data.spec import DataSpec
from lpstudy.data.split import ArraySplit, Preprocessing, Split
from lpstudy.data.stream import StreamSplit
from lpstudy.locations import parse_path
from lpstudy.redaction import without_credentials

LARGEST_ARRAY = 4 * 2**30
"""Bytes of decoded images from which a data set is streamed unless the spec says otherwise."""
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
    """How files get the input's size: resized and cut (see `lpstudy.data.images`), or not at all."""

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
        """The same data, on a device where the split's kind allows it."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
        )


def default_root() -> Path:
    """The folder of data sets: LPSTUDY_DATA, by default ~/.cache/lpstudy.

    Raises:
        ValueError: LPSTUDY_DATA is no folder of this machine.
    """
    text = environment.location(environment.DATA)
    try:
        return parse_path(text)
    except ValueError as error:
        raise ValueError(f"{environment.DATA}: {error}") from None


def configured_root(spec: DataSpec) -> Path | None:
    """The folder of the data that the study file names; None where it names none.

    Raises:
        ValueError: The root is no folder of this machine.
    """
    try:
        return None if spec.root is None else parse_path(str(spec.root))
    except ValueError as error:
        raise ValueError(f"[data] root: {error}") from None


def load(spec: DataSpec, *, root: Path | None = None, progress: bool = False) -> Data:
    """The data set that the spec describes.

    Args:
        spec: The data set.
        root: The folder of the data; overrides the spec's, which overrides `default_root()`.
        progress: Show a progress line on standard error while files are fetched, listed, decoded or measured.

    Raises:
        FileNotFoundError: Files are missing and cannot be downloaded.
        ValueError: Files are damaged, the spec does not fit them, or the cache is not writable.
    """
    folder = root or configured_root(spec) or default_root()
    if (safe_url := without_credentials(str(folder))) != str(folder):
        raise ValueError(f"data are read from a folder, not from {safe_url!r}")
    try:
        return _load_kind(spec, folder.absolute(), progress)
    except FileNotFoundError as error:
        if folder.is_absolute():
            raise
        raise FileNotFoundError(f"{error}; {str(folder)!r} is relative to the working directory") from error


def _load_kind(spec: DataSpec, folder: Path, progress: bool) -> Data:
    match spec.kind:
        case "digits":
            return _from_arrays(spec, spec.kind, load_or_decode(["digits", digits_version()], read_digits))
        case "mnist":
            read = partial(mnist.read_mnist, folder, progress=progress)
            return _from_arrays(spec, spec.kind, _from_torchvision(spec.kind, folder, mnist.FILES, read))
        case "cifar10" | "cifar100":
            read = partial(cifar.read_cifar, spec.kind, folder, progress=progress)
            return _from_arrays(
                spec, spec.kind, _from_torchvision(spec.kind, folder, cifar.FILES[spec.kind], read)
            )
        case "image_folder":
            return _from_files(spec, list_image_folder(folder, progress=progress), None, None, progress)
        case "imagenet":
            statistics = Statistics(mean=imagenet.MEAN, std=imagenet.STD)
            listing = list_imagenet(folder, progress=progress)
            return _from_files(spec, listing, imagenet.SIDE, statistics, progress)


def _from_torchvision(
    kind: Literal["mnist", "cifar10", "cifar100"],
    folder: Path,
    files: tuple[str, ...],
    read: Callable[[], Arrays],
) -> Entry:
    if all((folder / name).is_file() for name in files):
        return load_or_decode([kind, source_of(folder, files)], read)
    arrays = read()
    return load_or_decode([kind, source_of(folder, files)], lambda: arrays)


def _from_arrays(spec: DataSpec, name: str, entry: Entry, statistics: Statistics | None = None) -> Data:
    arrays = entry.arrays
    labels = torch.from_numpy(arrays.train_labels)
    train, validation = _parts(spec, labels, arrays.class_names)
    _, channels, height, width = arrays.train_images.shape
    if statistics is None:
        sums = torch.from_numpy(entry.moments)[train].sum(dim=0)
        statistics = statistics_of(sums, len(train) * height * width)
    plain, views = _preprocessing(spec, statistics)
    images = torch.from_numpy(arrays.train_images)
    test_images, test_labels = torch.from_numpy(arrays.test_images), torch.from_numpy(arrays.test_labels)
    return Data(
        name=name,
        class_names=arrays.class_names,
        input_shape=(channels, height, width),
        train=ArraySplit(images, train, labels[train], views),
        validation=ArraySplit(images, validation, labels[validation], plain),
        test=ArraySplit(test_images, torch.arange(len(test_labels)), test_labels, plain),
        mean=statistics.mean,
        std=statistics.std,
        fingerprint=_fingerprint(spec, statistics, entry.content),
        pad=spec.pad,
        flip=spec.flip,
        remarks=transparency_remark(arrays.transparent, len(labels) + len(test_labels)),
    )


def _from_files(
    spec: DataSpec, listing: Listing, default_side: int | None, statistics: Statistics | None, progress: bool
) -> Data:
    side = spec.image_size or default_side
    size = (side, side) if side is not None else first_size(listing)
    if spec.pad >= min(size):
        raise ValueError(f"pad is {spec.pad}, it must be below the image's side of {min(size)} pixels")
    images = len(listing.train.labels) + len(listing.test.labels)
    streaming = spec.streaming
    if streaming is None:
        streaming = spec.kind == "imagenet" or images * 3 * size[0] * size[1] >= LARGEST_ARRAY
    if streaming:
        return _from_stream(spec, listing, side, size, statistics, progress)
    entry = load_or_decode(
        ["files", side, listing.source()],
        partial(decode_all, listing, side, size, progress=progress),
    )
    data = _from_arrays(spec, listing.name, entry, statistics)
    resizing: Resizing = "none" if side is None else "centre_square"
    return replace(data, resizing=resizing, remarks=(*listing.remarks, *data.remarks))


def _from_stream(
    spec: DataSpec,
    listing: Listing,
    side: int | None,
    size: tuple[int, int],
    statistics: Statistics | None,
    progress: bool,
) -> Data:
    if side is None:
        check_sizes(listing, size, progress=progress)
    labels = torch.from_numpy(listing.train.labels)
    train, validation = _parts(spec, labels, listing.class_names)

    def part(files: Files, rows: Tensor, preprocessing: Preprocessing) -> StreamSplit:
        selection = files.select(rows.numpy())
        return StreamSplit(
            listing.root,
            selection.paths,
            selection.sizes,
            torch.from_numpy(selection.labels),
            side,
            preprocessing,
        )

    raw_train = part(listing.train, train, Preprocessing((0.0,) * 3, (1.0,) * 3))
    settings = [spec.validation_fraction, spec.split_seed, spec.labels_per_class]
    sample = measure(raw_train, json.dumps([listing.source(), size, *settings]), progress=progress)
    statistics = statistics or Statistics(mean=sample.mean, std=sample.std)
    plain, views = _preprocessing(spec, statistics)
    test_rows = torch.arange(len(listing.test.labels))
    return Data(
        name=listing.name,
        class_names=listing.class_names,
        input_shape=(3, *size),
        train=part(listing.train, train, views),
        validation=part(listing.train, validation, plain),
        test=part(listing.test, test_rows, plain),
        mean=statistics.mean,
        std=statistics.std,
        fingerprint=_fingerprint(spec, statistics, f"{listing.content()} {size} {FORMAT}"),
        pad=spec.pad,
        flip=spec.flip,
        resizing="none" if side is None else "centre_square",
        remarks=(*listing.remarks, *transparency_remark(sample.transparent, sample.images)),
    )


def _parts(spec: DataSpec, labels: Tensor, names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Positions of the training and the validation part within the training set."""
    train, validation = stratified_split(
        labels, spec.validation_fraction, seed=spec.split_seed, purpose="validation", names=names
    )
    if spec.labels_per_class is not None:
        subset = subset_per_class(labels[train], spec.labels_per_class, seed=spec.split_seed, names=names)
        train = train[subset]
    return train, validation


def _preprocessing(spec: DataSpec, statistics: Statistics) -> tuple[Preprocessing, Preprocessing]:
    """The preprocessing without augmentation, and with it."""
    mean, std = statistics.mean, statistics.std
    return Preprocessing(mean, std), Preprocessing(mean, std, spec.pad, spec.flip, spec.split_seed)


def _fingerprint(spec: DataSpec, statistics: Statistics, content: str) -> str:
    settings = [spec.validation_fraction, spec.split_seed, spec.labels_per_class, spec.pad, spec.flip]
    table = [content, statistics.mean, statistics.std, *settings]
    return hashlib.sha256(json.dumps(table).encode()).hexdigest()
