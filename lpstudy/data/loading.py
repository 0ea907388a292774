"""Loading of a data set: from its spec to splits that give batches."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lpstudy import environment
from lpstudy.data import cifar, imagenet, mnist
from lpstudy.data.array_cache import Entry, load_or_decode
from lpstudy.data.arrays import Arrays
from lpstudy.data.construction import data_from_arrays, data_from_entry, data_from_listing
from lpstudy.data.dataset import Data
from lpstudy.data.digits import digits_version, read_digits
from lpstudy.data.download import source_of
from lpstudy.data.image_folder import list_image_folder
from lpstudy.data.imagenet import list_imagenet
from lpstudy.data.pixel_statistics import Statistics
from lpstudy.data.registry import load_registered
from lpstudy.data.spec import DataSpec
from lpstudy.locations import parse_path
from lpstudy.redaction import without_credentials


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
            return data_from_entry(load_or_decode(["digits", digits_version()], read_digits), spec, spec.kind)
        case "mnist":
            read = partial(mnist.read_mnist, folder, progress=progress)
            entry = _from_torchvision(spec.kind, folder, mnist.FILES, read)
            return data_from_entry(entry, spec, spec.kind)
        case "cifar10" | "cifar100":
            read = partial(cifar.read_cifar, spec.kind, folder, progress=progress)
            entry = _from_torchvision(spec.kind, folder, cifar.FILES[spec.kind], read)
            return data_from_entry(entry, spec, spec.kind)
        case "image_folder":
            listing = list_image_folder(folder, progress=progress)
            return data_from_listing(listing, spec, None, None, progress=progress)
        case "imagenet":
            usual = Statistics(mean=imagenet.MEAN, std=imagenet.STD)
            listing = list_imagenet(folder, progress=progress)
            return data_from_listing(listing, spec, usual, imagenet.SIDE, progress=progress)
        case registered:
            return data_from_arrays(load_registered(registered, folder, progress=progress), spec)


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
