"""Construction of a `Data` from decoded arrays or from a folder's files."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from lpstudy.data.array_cache import FORMAT, Entry, load_or_decode
from lpstudy.data.arrays import Arrays
from lpstudy.data.dataset import Data
from lpstudy.data.image_folder import Cut, check_sizes, decode_all, first_size
from lpstudy.data.listing import Files, Listing
from lpstudy.data.mixing import Mixing
from lpstudy.data.order import Mixture
from lpstudy.data.partition import stratified_split, subset_per_class
from lpstudy.data.pixel_statistics import Statistics, measure, statistics_of
from lpstudy.data.pixels import ArrayPixels, Pixels
from lpstudy.data.policies import CHANNELS, Policy
from lpstudy.data.preprocessing import Preprocessing
from lpstudy.data.remarks import transparency_remark
from lpstudy.data.resized_crop import BoxRange
from lpstudy.data.spec import DataSpec
from lpstudy.data.split import Split
from lpstudy.data.stream import StreamPixels
from lpstudy.outputs import NO_LABEL

LARGEST_ARRAY = 4 * 2**30
"""Bytes of decoded images from which a data set is streamed unless the spec says otherwise."""


def data_from_arrays(arrays: Arrays, spec: DataSpec, *, name: str | None = None) -> Data:
    """A data set from its decoded images, split and augmented as the spec says.

    The images are copied into the cache, from where all processes of a machine map them into memory: the
    arrays may be freed afterwards.

    Args:
        arrays: Images and labels of the training set and the test set. The validation part is cut from the
            training set.
        spec: The split and the augmentation; kind and root are not used.
        name: The data set's name in messages and reports; by default the spec's kind.

    Raises:
        ValueError: The arrays have other shapes or types than `Arrays` says, a label has no class, a class
            has one training image, or the spec does not fit the images.
        StorageError: The cache cannot be written.
    """
    name = name or spec.kind
    try:
        arrays = arrays.checked()
    except ValueError as error:
        raise ValueError(f"data set {name!r}: {error}") from error
    return data_from_entry(load_or_decode(["arrays", arrays.digest()], lambda: arrays), spec, name)


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
    parts = _parts(spec, labels, arrays.class_names)
    _, channels, height, width = arrays.train_images.shape
    _check_pad(spec, (height, width))
    _check_channels(spec, channels, name)
    if statistics is None:
        sums = torch.from_numpy(entry.moments)[parts.train].sum(dim=0)
        statistics = statistics_of(sums, len(parts.train) * height * width)
    plain, views = _preprocessing(spec, statistics)
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
        fingerprint=_fingerprint(spec, statistics, entry.content),
        pad=spec.pad,
        flip=spec.flip,
        whole=Split(ArrayPixels(images, parts.whole), labels[parts.whole], views),
        split_seed=spec.split_seed,
        labels_per_class=spec.labels_per_class,
        remarks=transparency_remark(arrays.transparent, len(labels) + len(test_labels)),
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
    images = len(listing.train.labels) + len(listing.test.labels)
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
        parts = _parts(spec, torch.from_numpy(listing.train.labels), listing.class_names)
        pixels, labels = self._part(listing.train, parts.train)
        settings: list[object] = [spec.validation_fraction, spec.split_seed]
        settings += [spec.labels_per_class, spec.unlabelled]
        settings += [] if self.cut.resize is None else [self.cut.resize]
        source = json.dumps([listing.source(), size, *settings])
        sample = measure(pixels, source, progress=progress)
        statistics = usual or Statistics(mean=sample.mean, std=sample.std)
        plain, views = _preprocessing(spec, statistics)
        return Data(
            name=listing.name,
            class_names=listing.class_names,
            input_shape=(3, *size),
            train=parts.train_split(pixels, labels, views),
            validation=Split(*self._part(listing.train, parts.validation), plain),
            test=Split(*self._part(listing.test, torch.arange(len(listing.test.labels))), plain),
            mean=statistics.mean,
            std=statistics.std,
            fingerprint=_fingerprint(spec, statistics, f"{listing.content()} {size} {FORMAT}"),
            pad=spec.pad,
            flip=spec.flip,
            whole=Split(*self._part(listing.train, parts.whole), views),
            split_seed=spec.split_seed,
            labels_per_class=spec.labels_per_class,
            remarks=transparency_remark(sample.transparent, sample.images),
        )

    def _part(self, files: Files, rows: Tensor) -> tuple[StreamPixels, Tensor]:
        """The images and the labels of some of the files."""
        selection = files.select(rows.numpy())
        cut = self.cut
        pixels = StreamPixels(self.listing.root, selection.paths, selection.sizes, cut.side, cut.resize)
        return pixels, torch.from_numpy(selection.labels)


def _check_pad(spec: DataSpec, size: tuple[int, int]) -> None:
    if spec.pad >= min(size):
        raise ValueError(f"pad is {spec.pad}, it must be below the image's side of {min(size)} pixels")


def _check_channels(spec: DataSpec, channels: int, name: str) -> None:
    if spec.augment != "none" and channels not in CHANNELS:
        raise ValueError(
            f"augment: {spec.augment} is for images of 1 or 3 channels, those of {name} have {channels}"
        )


@dataclass(frozen=True, slots=True)
class _Parts:
    """Positions of the parts within the training set, and what of them has a label."""

    whole: Tensor
    """The training part with all its labels."""
    train: Tensor
    """What a study trains on, the images with a label first."""
    validation: Tensor
    mixture: Mixture | None

    def train_split(self, pixels: Pixels, labels: Tensor, preprocessing: Preprocessing) -> Split:
        """What a study trains on, of its images and labels."""
        if self.mixture is not None:
            labels = labels.clone()
            labels[self.mixture.labelled :] = NO_LABEL
        return Split(pixels, labels, preprocessing, self.mixture)


def _parts(spec: DataSpec, labels: Tensor, names: tuple[str, ...]) -> _Parts:
    """The parts of the training set."""
    whole, validation = stratified_split(
        labels, spec.validation_fraction, seed=spec.split_seed, purpose="validation", names=names
    )
    if spec.labels_per_class is None:
        return _Parts(whole, whole, validation, None)
    subset = subset_per_class(labels[whole], spec.labels_per_class, seed=spec.split_seed, names=names)
    if spec.unlabelled is None:
        return _Parts(whole, whole[subset], validation, None)
    is_labelled = torch.zeros(len(whole), dtype=torch.bool)
    is_labelled[subset] = True
    if is_labelled.all():
        raise ValueError(
            f"[data] unlabelled: no image is left, for labels_per_class = {spec.labels_per_class} takes all"
        )
    train = torch.cat([whole[is_labelled], whole[~is_labelled]])
    return _Parts(whole, train, validation, Mixture(len(subset), spec.labelled_share))


def _preprocessing(spec: DataSpec, statistics: Statistics) -> tuple[Preprocessing, Preprocessing]:
    """The preprocessing without augmentation, and with it."""
    mean, std = statistics.mean, statistics.std
    views = Preprocessing(
        mean,
        std,
        spec.pad,
        spec.flip,
        spec.split_seed,
        resized_crop=BoxRange(spec.crop_scale, spec.crop_ratio) if spec.crop == "resized" else None,
        policy=_policy(spec),
        erasing=spec.erase,
        mixing=Mixing(spec.mixup, spec.cutmix) if spec.mixes else None,
    )
    return Preprocessing(mean, std), views


def _policy(spec: DataSpec) -> Policy | None:
    match spec.augment:
        case "none":
            return None
        case "randaugment":
            return Policy(spec.augment, spec.operation_count, spec.operation_magnitude)
        case "trivialaugment":
            return Policy(spec.augment, 1, None)


def _fingerprint(spec: DataSpec, statistics: Statistics, content: str) -> str:
    settings: list[object] = [spec.validation_fraction, spec.split_seed, spec.labels_per_class]
    settings += [spec.pad, spec.flip]
    if spec.unlabelled is not None:
        settings += [spec.unlabelled, spec.labelled_share]
    if spec.crop == "resized":
        settings += ["crop", spec.crop_scale, spec.crop_ratio]
    if (policy := _policy(spec)) is not None:
        settings += ["augment", policy.name, policy.operations, policy.magnitude]
    for key in ("erase", "resize", "mixup", "cutmix"):
        settings += [key, value] if (value := getattr(spec, key)) else []
    table = [content, statistics.mean, statistics.std, *settings]
    return hashlib.sha256(json.dumps(table).encode()).hexdigest()
