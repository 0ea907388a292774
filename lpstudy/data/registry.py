"""Data sets from outside the package: a kind's name and the function that loads it."""

import re
import traceback
from collections.abc import Callable
from pathlib import Path

from lpstudy.data.arrays import Arrays
from lpstudy.one_line import one_line

Loader = Callable[[Path], Arrays]
"""A function from the folder of the data to the data set."""

KINDS = ("digits", "mnist", "cifar10", "cifar100", "imagenet", "image_folder")
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
        loader: Gets the folder of the data ([data] root, by default LPSTUDY_DATA) and returns the images. A
            `FileNotFoundError` or `ValueError` of it is shown as it is, another error with its line.

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


def load_registered(kind: str, root: Path) -> Arrays:
    """The arrays of a registered data set.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: Its loader fails.
    """
    try:
        arrays = LOADERS[kind](root)
    except (FileNotFoundError, ValueError):
        raise
    except Exception as error:
        *_, frame = traceback.extract_tb(error.__traceback__)
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ValueError(
            f"the loader of {kind!r} failed: {frame.filename}:{frame.lineno}: {reason}"
        ) from error
    if not isinstance(arrays, Arrays):
        raise ValueError(f"the loader of {kind!r} must return Arrays but returned {type(arrays).__name__}")
    return arrays


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
