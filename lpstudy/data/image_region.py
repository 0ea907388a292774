"""Where an image is: a file, or a region of a larger file."""

import io
import os
from dataclasses import dataclass
from typing import BinaryIO

from lpstudy.data.image_limits import LARGEST_READ_WHOLE
from lpstudy.data.limited_file import CostError


@dataclass(frozen=True, slots=True)
class Region:
    """An image within a larger file."""

    path: bytes
    """The file, as the file system names it."""
    offset: int
    size: int
    """Bytes of the image, from the offset on."""
    name: bytes
    """Its name in messages."""


ImageSource = bytes | Region
"""The path of an image file, or a region."""


def open_image_source(source: ImageSource) -> BinaryIO:
    """Open an image for reading; a region is read whole.

    Raises:
        OSError: The file cannot be read.
        ValueError: The region reaches beyond the end of its file, or is too large.
    """
    if isinstance(source, bytes):
        return open(source, "rb")
    if source.size > LARGEST_READ_WHOLE:
        raise CostError(f"has {source.size:,} bytes, more than {LARGEST_READ_WHOLE:,}")
    with open(source.path, "rb") as file:
        file.seek(source.offset)
        content = file.read(source.size)
    if len(content) < source.size:
        raise ValueError(f"the file {display_path(source.path)} ends within it")
    return io.BytesIO(content)


def display_path(path: bytes) -> str:
    """A path for a message: quoted and on one line."""
    return repr(os.fsdecode(path))


def display_source(source: ImageSource) -> str:
    """The name of an image for a message."""
    return display_path(source if isinstance(source, bytes) else source.name)
