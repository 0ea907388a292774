"""One image file: opened without trust, turned upright and to RGB, cut to size."""

import contextlib
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from lpstudy.data.colours import to_opaque_rgb
from lpstudy.data.image_limits import check_pixels, check_structure
from lpstudy.data.limited_file import CostError, LimitedFile
from lpstudy.data.orientation import SIDEWAYS, orientation_of, upright

if TYPE_CHECKING:
    from PIL import Image as Images

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "AVIF")
"""What Pillow may open: it knows others, some of which start programs."""
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".gif", ".bmp", ".ppm", ".pgm",
    ".pbm", ".pnm", ".tif", ".tiff", ".webp", ".avif", ".apng",
)  # fmt: skip
RAW_PROFILE = "Raw profile type exif"
"""Where ImageMagick puts the EXIF of a PNG: in text, as hexadecimal digits after three lines."""


@dataclass(frozen=True, eq=False, slots=True)
class DecodedImage:
    """A decoded image."""

    pixels: npt.NDArray[np.uint8]
    """RGB, shape (3, height, width)."""
    transparent: bool
    """Whether the file had pixels that are not opaque; they are composed on white."""


def decode_image(path: bytes, side: int | None) -> DecodedImage:
    """The image in RGB, upright as its EXIF says; other kinds of pixels by the rules of `to_opaque_rgb`.

    Of several images in one file the first counts: frame, page, the default image of an animated PNG.

    Args:
        path: The file, as the file system names it.
        side: Pixels of a side: the shorter side is resized to it (bilinear, antialiased) and the centre cut
            out. None leaves the size as it is.

    Raises:
        ValueError: The file cannot be read, is not an image, is truncated, is a decompression bomb, or takes
            too long or too much memory.
    """
    with _opened(path, head_only=False) as (image, exif):
        colours, transparent = to_opaque_rgb(image)
        colours = upright(colours, _orientation(image, exif))
        if side is not None and colours.size != (side, side):
            colours = _square(colours, side)
        return DecodedImage(np.asarray(colours).transpose(2, 0, 1), transparent)


def decode_pixels(path: bytes, side: int | None) -> npt.NDArray[np.uint8]:
    """The pixels of `decode_image`.

    Raises:
        ValueError: See `decode_image`.
    """
    return decode_image(path, side).pixels


def size_of(path: bytes) -> tuple[int, int]:
    """Height and width in pixels of the upright image; its pixels are not decoded.

    Raises:
        ValueError: The file cannot be read, is not an image, or is a decompression bomb.
    """
    with _opened(path, head_only=True) as (image, exif):
        sideways = _orientation(image, exif) in SIDEWAYS
        return (image.width, image.height) if sideways else (image.height, image.width)


def display_path(path: bytes) -> str:
    """A path for a message: quoted, on one line whatever its characters are."""
    return repr(os.fsdecode(path))


@contextlib.contextmanager
def _opened(path: bytes, *, head_only: bool) -> "Iterator[tuple[Images.Image, bytes]]":
    """The image and its EXIF; whatever is wrong, here or while it is decoded, becomes one ValueError."""
    from PIL import Image, UnidentifiedImageError, features

    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            exif = check_structure(file, head_only=head_only)
            limited = cast(BinaryIO, LimitedFile(file))
            with Image.open(limited, formats=FORMATS) as image:
                check_pixels(image.format, image.width, image.height)
                yield image, exif
    except UnidentifiedImageError as error:
        lacking = "" if features.check("avif") else "; this Pillow reads no AVIF"
        raise ValueError(f"{display_path(path)} is not an image, or a damaged one{lacking}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{display_path(path)} may be a decompression bomb:"
            f" images may have {Image.MAX_IMAGE_PIXELS} pixels"
        ) from error
    except CostError as error:
        raise ValueError(f"{display_path(path)} {error}") from error
    except (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        # Pillow's decoders raise all of these on malformed files.
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ValueError(f"cannot read the image {display_path(path)}: {reason}") from error


def _orientation(image: "Images.Image", exif: bytes) -> int:
    """How the image is to be turned; of a TIFF Pillow itself has turned size and pixels."""
    if image.format == "TIFF":
        return 1
    if not exif and isinstance(found := image.info.get("exif"), bytes):
        exif = found.removeprefix(b"Exif\0\0")
    if not exif and isinstance(text := image.info.get(RAW_PROFILE), str):
        with contextlib.suppress(ValueError):
            exif = bytes.fromhex("".join(text.split("\n")[3:])).removeprefix(b"Exif\0\0")
    return orientation_of(exif)


def _square(image: "Images.Image", side: int) -> "Images.Image":
    """The centre square, resized in one step: a long thin image never grows into a huge one in between."""
    from PIL import Image

    shorter = min(image.size)
    left, top = (image.width - shorter) / 2, (image.height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)
