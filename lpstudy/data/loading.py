"""Loading of a data set: from its spec to splits that give batches."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from lpstudy import environment
from lpstudy.data import cifar, imagenet, mnist
from lpstudy.data.array_cache import Entry, load_or_decode
from lpstudy.data.arrays import Arrays
from lpstudy.data.construction import data_from_entry, data_from_listing, entry_of_arrays
from lpstudy.data.data_files import place_name
from lpstudy.data.dataset import Data
from lpstudy.data.digits import digits_version, read_digits
from lpstudy.data.download import source_of
from lpstudy.data.files import Listing
from lpstudy.data.image_folder import list_image_folder
from lpstudy.data.image_index import signature_of
from lpstudy.data.imagenet import list_imagenet
from lpstudy.data.npz import npz_file, read_npz
from lpstudy.data.parquet import Columns, list_parquet
from lpstudy.data.pixel_statistics import Statistics
from lpstudy.data.registry import load_registered
from lpstudy.data.shards import list_shards
from lpstudy.data.spec import DataSpec
from lpstudy.data.unlabelled import list_unlabelled, with_unlabelled
from lpstudy.locations import parse_path
from lpstudy.redaction import without_credentials

REMOTE = ("parquet", "npz", "webdataset")
"""The kinds that are read from URLs too."""


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
    """The folder of the data that the study file names; None where it names none, or a URL.

    Raises:
        ValueError: The root is no folder of this machine.
    """
    if spec.root is None or _url(spec) is not None:
        return None
    try:
        return parse_path(str(spec.root))
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
    if root is None and (url := _url(spec)) is not None:
        return _load_kind(spec, url, progress)
    folder = root or configured_root(spec) or default_root()
    if (safe_url := without_credentials(str(folder))) != str(folder):
        raise ValueError(f"data are read from a folder, not from {safe_url!r}")
    try:
        return _load_kind(spec, folder.absolute(), progress)
    except FileNotFoundError as error:
        if folder.is_absolute():
            raise
        raise FileNotFoundError(f"{error}; {str(folder)!r} is relative to the working directory") from error


def _url(spec: DataSpec) -> str | None:
    """The URL at which a study file has its data; None where the kind is not read from URLs, or has none."""
    text = spec.root if isinstance(spec.root, str) and spec.kind in REMOTE else ""
    return None if not text or text.lower().startswith("file://") else text


def _load_kind(spec: DataSpec, root: Path | str, progress: bool) -> Data:
    unlabelled = list_unlabelled(spec, progress=progress)
    entry = _entry(spec, root, progress)
    if entry is not None:
        if unlabelled is not None:
            entry = with_unlabelled(entry, unlabelled, progress=progress)
        return data_from_entry(entry, spec, place_name(root) if spec.kind == "npz" else spec.kind)
    listing = _listing(spec, root, progress)
    imagenet_like = spec.kind == "imagenet"
    usual = Statistics(mean=imagenet.MEAN, std=imagenet.STD) if imagenet_like else None
    side = imagenet.SIDE if imagenet_like else None
    listing = replace(listing, unlabelled=unlabelled)
    return data_from_listing(listing, spec, usual, side, progress=progress)


def _listing(spec: DataSpec, root: Path | str, progress: bool) -> Listing:
    """The images of a data set that is decoded from its files."""
    match spec.kind:
        case "parquet":
            return list_parquet(root, Columns(spec.image_column, spec.label_column), progress=progress)
        case "webdataset":
            return list_shards(root, progress=progress)
        case "imagenet":
            return list_imagenet(Path(root), progress=progress)
        case _:
            return list_image_folder(Path(root), progress=progress)


def _entry(spec: DataSpec, root: Path | str, progress: bool) -> Entry | None:
    """The arrays of a data set that has images of one size; None of another."""
    folder = Path(root)
    match spec.kind:
        case "digits":
            return load_or_decode(["digits", digits_version()], read_digits)
        case "mnist":
            read = partial(mnist.read_mnist, folder, progress=progress)
            return _from_torchvision(spec.kind, folder, mnist.FILES, read)
        case "cifar10" | "cifar100":
            read = partial(cifar.read_cifar, spec.kind, folder, progress=progress)
            return _from_torchvision(spec.kind, folder, cifar.FILES[spec.kind], read)
        case "npz":
            file = npz_file(root)
            read = partial(read_npz, file, progress=progress)
            return load_or_decode(["npz", *signature_of([file])], read)
        case "image_folder" | "imagenet" | "parquet" | "webdataset":
            return None
        case registered:
            return entry_of_arrays(load_registered(registered, folder, progress=progress), registered)


def _from_torchvision(
    kind: str,
    folder: Path,
    files: tuple[str, ...],
    read: Callable[[], Arrays],
) -> Entry:
    if all((folder / name).is_file() for name in files):
        return load_or_decode([kind, source_of(folder, files)], read)
    arrays = read()
    return load_or_decode([kind, source_of(folder, files)], lambda: arrays)
