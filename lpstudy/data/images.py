"""One image file: opened without trust, turned to RGB, cut to size."""

import contextlib
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image as Images

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP")
"""What Pillow may open: it knows others, some of which start programs."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".ppm", ".pgm", ".pbm", ".tif", ".tiff", ".webp")


def decoded(path: bytes, side: int | None) -> npt.NDArray[np.uint8]:
    """The image in RGB, uint8, shape (3, height, width).

    Grey, palette, CMYK and 16-bit images become 8-bit RGB; transparency is dropped. A moving image gives its
    first frame.

    Args:
        path: The file, as the file system names it.
        side: Pixels of a side: the shorter side is resized to it (bilinear, antialiased) and the centre cut
            out. None leaves the size as it is.

    Raises:
        ValueError: The file cannot be read, is not an image, is truncated, or is a decompression bomb.
    """
    with _opened(path) as image:
        colours = _rgb(image)
        if side is not None and colours.size != (side, side):
            colours = _square(colours, side)
        return np.asarray(colours).transpose(2, 0, 1)


def size_of(path: bytes) -> tuple[int, int]:
    """Height and width in pixels, from the file's head alone.

    Raises:
        ValueError: The file cannot be read, is not an image, or is a decompression bomb.
    """
    with _opened(path) as image:
        return image.height, image.width


def shown(path: bytes) -> str:
    """A path for a message: quoted, on one line whatever its characters are."""
    return repr(os.fsdecode(path))


@contextlib.contextmanager
def _opened(path: bytes) -> "Iterator[Images.Image]":
    """The image; what Pillow says of a bad file, here or while it is decoded, becomes one ValueError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(os.fsdecode(path), formats=FORMATS) as image:
                yield image
    except UnidentifiedImageError as error:
        raise ValueError(f"{shown(path)} is not an image, or a damaged one") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{shown(path)} may be a decompression bomb: images may have {Image.MAX_IMAGE_PIXELS} pixels"
        ) from error
    except (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        # Pillow's decoders raise all of these on malformed files.
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ValueError(f"cannot read the image {shown(path)}: {reason}") from error


def _rgb(image: "Images.Image") -> "Images.Image":
    from PIL import Image

    if image.mode == "RGB":
        image.load()
        return image
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow's own conversion cuts 16-bit values off at 255.
        deep = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _square(image: "Images.Image", side: int) -> "Images.Image":
    """The centre square, resized in one step: a long thin image never grows into a huge one in between."""
    from PIL import Image

    shorter = min(image.size)
    left, top = (image.width - shorter) / 2, (image.height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)
