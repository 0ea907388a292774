"""Construction of a `Data` from decoded arrays or from a folder's files."""

import json
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from lpstudy.data.array_cache import FORMAT, Entry, load_or_decode
from lpstudy.data.arrays import Arrays
from lpstudy.data.dataset import Data
from lpstudy.data.decoding import Cut, check_sizes, decode_all, first_size, unlabelled_cut
from lpstudy.data.files import Files, Listing
from lpstudy.data.part_rows import part_rows
from lpstudy.data.pixel_statistics import Statistics, measure, statistics_of
from lpstudy.data.pixels import ArrayPixels
from lpstudy.data.policies import CHANNELS
from lpstudy.data.remarks import official_remark, transparency_remark
from lpstudy.data.spec import DataSpec
from lpstudy.data.spec_settings import fingerprint_of, preprocessing_of
from lpstudy.data.split import Split
from lpstudy.data.stream import StreamPixels

LARGEST_ARRAY = 4 * 2**30
"""Bytes of decoded images from which a data set is streamed unless the spec says otherwise."""


def data_from_arrays(arrays: Arrays, spec: DataSpec, *, name: str | None = None) -> Data:
    """A data set from its decoded images, split and augmented as the spec says.

    The images are copied into the cache, from where all processes of a machine map them into memory: the
    arrays may be freed afterwards.

    Args:
        arrays: Images and labels of the training set and the test set. Where they have no validation part, it
            is cut from the training set.
        spec: The split and the augmentation; kind and root are not used.
        name: The data set's name in messages and reports; by default the spec's kind.

    Raises:
        ValueError: The arrays have other shapes or types than `Arrays` says, a label has no class, a class
            has one training image, or the spec does not fit the images.
        StorageError: The cache cannot be written.
    """
    name = name or spec.kind
    return data_from_entry(entry_of_arrays(arrays, name), spec, name)


def entry_of_arrays(arrays: Arrays, name: str) -> Entry:
    """The cache's entry of a data set in memory.

    Raises:
        ValueError: See `data_from_arrays`.
    """
    try:
        arrays = arrays.checked()
    except ValueError as error:
        raise ValueError(f"data set {name!r}: {error}") from error
    return load_or_decode(["arrays", arrays.digest()], lambda: arrays)


def data_from_entry(entry: Entry, spec: DataSpec, name: str, statistics: Statistics | None = None) -> Data:
    """A data set from its entry in the cache.

    Args:
        entry: The decoded images.
        spec: The split and the augmentation.
        name: The data set's name.
        statistics: The usual figures; None: those of the training part.

    Raises:
        ValueError: The spec does not fit the images.
    """
    arrays = entry.arrays
    labels = torch.from_numpy(arrays.train_labels)
    parts = part_rows(spec, labels, arrays.class_names, arrays.validation)
    _, channels, height, width = arrays.train_images.shape
    _check_pad(spec, (height, width))
    _check_channels(spec, channels, name)
    if statistics is None:
        sums = torch.from_numpy(entry.moments)[parts.train].sum(dim=0)
        statistics = statistics_of(sums, len(parts.train) * height * width)
    plain, views = preprocessing_of(spec, statistics)
    images = torch.from_numpy(arrays.train_images)
    test_images, test_labels = torch.from_numpy(arrays.test_images), torch.from_numpy(arrays.test_labels)
    return Data(
        name=name,
        class_names=arrays.class_names,
        input_shape=(channels, height, width),
        train=parts.train_split(ArrayPixels(images, parts.train), labels[parts.train], views),
        validation=Split(ArrayPixels(images, parts.validation), labels[parts.validation], plain),
        test=Split(ArrayPixels(test_images, torch.arange(len(test_labels))), test_labels, plain),
        mean=statistics.mean,
        std=statistics.std,
        fingerprint=fingerprint_of(spec, statistics, entry.content, arrays.validation),
        pad=spec.pad,
        flip=spec.flip,
        whole=Split(ArrayPixels(images, parts.whole), labels[parts.whole], views),
        split_seed=spec.split_seed,
        labels_per_class=spec.labels_per_class,
        remarks=(
            *arrays.remarks,
            *official_remark(arrays.validation),
            *transparency_remark(arrays.transparent, len(labels) + len(test_labels)),
        ),
    )


def data_from_listing(
    listing: Listing, spec: DataSpec, usual: Statistics | None, default_side: int | None, *, progress: bool
) -> Data:
    """A data set from a folder's files, decoded into the cache or streamed.

    Args:
        listing: The files.
        spec: The split, the augmentation and the size of the images.
        usual: The usual statistics; None: those of the training part.
        default_side: Pixels of a side where the spec names none; None: the size that all images share.
        progress: Show a progress line.

    Raises:
        ValueError: A file is no readable image, or the spec does not fit the images.
    """
    side = spec.image_size or default_side
    size = (side, side) if side is not None else first_size(listing)
    _check_pad(spec, size)
    cut = Cut(side, spec.resize, size)
    images = len(listing.learning()) + len(listing.test)
    streaming = spec.streaming
    if streaming is None:
        cuts_originals = spec.crop == "resized" and side is not None
        is_large = images * 3 * size[0] * size[1] >= LARGEST_ARRAY
        streaming = spec.kind == "imagenet" or cuts_originals or is_large
    if streaming:
        data = _StreamedFiles(listing, cut).data(spec, usual, progress=progress)
    else:
        decode = partial(decode_all, listing, cut, progress=progress)
        source = ["files", side, listing.source(), *([] if cut.resize is None else [cut.resize])]
        data = data_from_entry(load_or_decode(source, decode), spec, listing.name, usual)
    return replace(
        data,
        resizing="none" if side is None else "centre_square",
        resize=spec.resize,
        remarks=(*listing.remarks, *data.remarks),
    )


@dataclass(frozen=True, eq=False, slots=True)
class _StreamedFiles:
    """Files that become images of one size while they are streamed."""

    listing: Listing
    cut: Cut

    def data(self, spec: DataSpec, usual: Statistics | None, *, progress: bool) -> Data:
        """The data set."""
        listing, size = self.listing, self.cut.size
        if self.cut.side is None:
            check_sizes(listing, size, progress=progress)
        files, official = listing.learning(), 0 if listing.validation is None else len(listing.validation)
        parts = part_rows(spec, torch.from_numpy(files.labels), listing.class_names, official)
        pixels, labels = self._part(files, parts.train)
        settings: list[object] = [spec.validation_fraction, spec.split_seed]
        settings += [spec.labels_per_class, spec.unlabelled_words]
        settings += [] if self.cut.resize is None else [self.cut.resize]
        source = json.dumps([listing.source(), size, *settings])
        sample = measure(pixels, source, progress=progress)
        statistics = usual or Statistics(mean=sample.mean, std=sample.std)
        plain, views = preprocessing_of(spec, statistics)
        content = f"{listing.content()} {size} {FORMAT}"
        return Data(
            name=listing.name,
            class_names=listing.class_names,
            input_shape=(3, *size),
            train=parts.train_split(pixels, labels, views),
            validation=Split(*self._part(files, parts.validation), plain),
            test=Split(*self._part(listing.test, torch.arange(len(listing.test))), plain),
            mean=statistics.mean,
            std=statistics.std,
            fingerprint=fingerprint_of(spec, statistics, content, official),
            pad=spec.pad,
            flip=spec.flip,
            whole=Split(*self._part(files, parts.whole), views),
            split_seed=spec.split_seed,
            labels_per_class=spec.labels_per_class,
            remarks=(*official_remark(official), *transparency_remark(sample.transparent, sample.images)),
        )

    def _part(self, files: Files, rows: Tensor) -> tuple[StreamPixels, Tensor]:
        """The images and the labels of some of the files."""
        selection = files.select(rows.numpy())
        cut = self.cut if self.listing.unlabelled is None else unlabelled_cut(self.cut)
        return StreamPixels(selection, cut.side, cut.resize), torch.from_numpy(selection.labels)


def _check_pad(spec: DataSpec, size: tuple[int, int]) -> None:
    if spec.pad >= min(size):
        raise ValueError(f"pad is {spec.pad}, it must be below the image's side of {min(size)} pixels")


def _check_channels(spec: DataSpec, channels: int, name: str) -> None:
    if spec.augment != "none" and channels not in CHANNELS:
        raise ValueError(
            f"augment: {spec.augment} is for images of 1 or 3 channels, those of {name} have {channels}"
        )
