"""Data sets from outside the package: a kind's name and the function that loads it."""

import re
from collections.abc import Callable
from pathlib import Path

from lpstudy.data.arrays import Arrays
from lpstudy.data.torch_datasets import arrays_of
from lpstudy.imported_names import is_reference, module_of, resolve
from lpstudy.one_line import one_line
from lpstudy.user_lines import user_line

Loader = Callable[[Path], object]
"""A function from the folder of the data to the data set: `Arrays`, or see `arrays_of`."""

KINDS = ("digits", "mnist", "cifar10", "cifar100", "imagenet", "image_folder", "parquet", "npz", "webdataset")
"""The data sets of the package."""
NAME_PATTERN = r"[a-z][a-z0-9_]{0,63}"

LOADERS: dict[str, Loader] = {}
"""The registered functions."""


def register(kind: str, loader: Loader) -> None:
    """Register a data set, which a study file then names: `[data] kind = "..."`.

    The function is called in each process that reads the data, and must return the same images there:

        def read_shapes(root: Path) -> Arrays:
            file = np.load(root / "shapes.npz")
            return arrays_with_test_part(file["images"], file["labels"], ("circle", "square"))

        register("shapes", read_shapes)

    Args:
        kind: The name: lower-case letters, digits and underscores.
        loader: Gets the folder of the data ([data] root, by default LPSTUDY_DATA) and returns the images as
            `Arrays`, or data sets of torch: see `arrays_of`. A `FileNotFoundError` or `ValueError` of it is
            shown as it is, another error with its line.

    Raises:
        ValueError: The name is not allowed, or that of another data set.
    """
    if not re.fullmatch(NAME_PATTERN, kind):
        raise ValueError(f"kind must match {NAME_PATTERN} but is {kind!r}")
    if kind in KINDS:
        raise ValueError(f"kind {kind!r} is a data set of lpstudy: register another name")
    if not _is_free(kind) and _origin(LOADERS[kind]) != _origin(loader):
        raise ValueError(f"kind {kind!r} is registered by {' '.join(_origin(LOADERS[kind]))} already")
    LOADERS[kind] = loader


def declare(kind: str) -> None:
    """Let study files name a data set whose code is not imported; it cannot be loaded.

    Raises:
        ValueError: The name is not allowed.
    """
    if not re.fullmatch(NAME_PATTERN, kind):
        raise ValueError(f"kind must match {NAME_PATTERN} but is {kind!r}")
    if kind not in known_kinds():
        LOADERS[kind] = _StandIn(kind)


def known_kinds() -> tuple[str, ...]:
    """The names of all data sets: those of the package, then the registered ones."""
    return (*KINDS, *LOADERS)


def check_kind(kind: str) -> bool:
    """Whether a data set of this name is known.

    Raises:
        ValueError: It is `module:name`, and its code is not imported or has no such name.
    """
    if not is_reference(kind):
        return kind in known_kinds()
    if module_of(kind).is_loaded:
        resolve(kind)
    return True


def load_registered(kind: str, root: Path, *, progress: bool = False) -> Arrays:
    """The arrays of a data set of imported code, or of one that is registered.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: Its code is not imported, fails, or gives something else than images.
    """
    source = resolve(kind) if is_reference(kind) else LOADERS[kind]
    try:
        return arrays_of(source, root, name=kind, progress=progress)
    except FileNotFoundError:
        raise
    except ValueError as error:
        place = user_line(error)
        if place is None or not is_reference(kind):
            raise
        raise ValueError(f"{kind}: {place}: {one_line(error)}") from error
    except Exception as error:  # of any kind: it may be that of one's own code
        reason = f"{type(error).__name__}: {one_line(error)}"
        place = user_line(error) or "in a library"
        raise ValueError(f"the loader of {kind!r} failed: {place}: {reason}") from error


class _StandIn:
    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __call__(self, root: Path) -> Arrays:
        raise ValueError(f"the code of data set {self._kind!r} is not imported: give --import FILE")


def _is_free(kind: str) -> bool:
    return isinstance(LOADERS.get(kind, _StandIn(kind)), _StandIn)


def _origin(loader: Loader) -> tuple[str, str]:
    """Where a function is defined: one file imported twice defines the same data set."""
    return getattr(loader, "__module__", ""), getattr(loader, "__qualname__", repr(loader))
