"""Decoding of one untrusted image file: upright, in RGB, cut to size."""

import contextlib
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from lpstudy.data.colours import to_opaque_rgb
from lpstudy.data.image_limits import check_pixels, check_structure
from lpstudy.data.image_region import ImageSource, display_source, open_image_source
from lpstudy.data.limited_file import CostError, LimitedFile
from lpstudy.data.orientation import SIDEWAYS, orientation_of, upright
from lpstudy.data.resized_crop import Box
from lpstudy.one_line import one_line

if TYPE_CHECKING:
    from PIL import Image as Images

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "AVIF")
"""The formats that Pillow may open; some of the others start programs."""
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".gif", ".bmp", ".ppm", ".pgm",
    ".pbm", ".pnm", ".tif", ".tiff", ".webp", ".avif", ".apng",
)  # fmt: skip
RAW_PROFILE = "Raw profile type exif"
"""The text in which ImageMagick puts the EXIF of a PNG, as hexadecimal digits after three lines."""


@dataclass(frozen=True, eq=False, slots=True)
class DecodedImage:
    """A decoded image."""

    pixels: npt.NDArray[np.uint8]
    """RGB, shape (3, height, width)."""
    transparent: bool
    """Whether the file had pixels that are not opaque; they are composed on white."""


def decode_image(source: ImageSource, side: int | None, resize: int | None = None) -> DecodedImage:
    """The image in RGB, upright as its EXIF says; other kinds of pixels by the rules of `to_opaque_rgb`.

    Of several images in one file the first counts: frame, page, the default image of an animated PNG.

    Args:
        source: The file, as the file system names it, or a region of a larger file.
        side: Pixels of a side of the centre square that is cut out after resizing (bilinear, antialiased).
            None leaves the size as it is.
        resize: Pixels of the shorter side after resizing; None: `side`.

    Raises:
        ValueError: The file cannot be read, is not an image, is truncated, is a decompression bomb, or takes
            too long or too much memory.
    """
    with _open_image(source, head_only=False) as (image, exif):
        return _cut(image, exif, side, resize)


def pixels_of(image: "Images.Image", side: int | None, resize: int | None = None) -> npt.NDArray[np.uint8]:
    """The pixels of an image that Pillow has opened or made, as those of `decode_image`.

    Raises:
        ValueError: The image cannot be read, or its pixels have no known range.
    """
    try:
        return _cut(image, b"", side, resize).pixels
    except (OSError, EOFError, SyntaxError, struct.error, zlib.error) as error:
        raise ValueError(f"cannot read the image: {one_line(error)}") from error


def _cut(image: "Images.Image", exif: bytes, side: int | None, resize: int | None) -> DecodedImage:
    colours, transparent = to_opaque_rgb(image)
    colours = upright(colours, _orientation(image, exif))
    if side is not None and resize is not None:
        colours = _resize_and_cut(colours, side, resize)
    elif side is not None and colours.size != (side, side):
        colours = _resize_centre_square(colours, side)
    return DecodedImage(np.asarray(colours).transpose(2, 0, 1), transparent)


def decode_pixels(source: ImageSource, side: int | None, resize: int | None = None) -> npt.NDArray[np.uint8]:
    """Decode the pixels of an image: see `decode_image`.

    Raises:
        ValueError: See `decode_image`.
    """
    return decode_image(source, side, resize).pixels


def decode_crop(source: ImageSource, side: int | None, box: Callable[[int, int], Box]) -> DecodedImage:
    """A box of the image, resized to a square (bilinear, antialiased); its pixels as those of `decode_image`.

    Args:
        source: The file, as the file system names it, or a region of a larger file.
        side: Pixels of a side of the result; None: the size of the image.
        box: The box of an image of a height and a width.

    Raises:
        ValueError: See `decode_image`.
    """
    from PIL import Image

    with _open_image(source, head_only=False) as (image, exif):
        colours, transparent = to_opaque_rgb(image)
        colours = upright(colours, _orientation(image, exif))
        size = colours.size if side is None else (side, side)
        top, left, height, width = box(colours.height, colours.width)
        crop = colours.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.BILINEAR)
        return DecodedImage(np.asarray(crop).transpose(2, 0, 1), transparent)


def size_of(source: ImageSource) -> tuple[int, int]:
    """Height and width in pixels of the upright image; its pixels are not decoded.

    Raises:
        ValueError: The file cannot be read, is not an image, or is a decompression bomb.
    """
    with _open_image(source, head_only=True) as (image, exif):
        sideways = _orientation(image, exif) in SIDEWAYS
        return (image.width, image.height) if sideways else (image.height, image.width)


@contextlib.contextmanager
def _open_image(source: ImageSource, *, head_only: bool) -> "Iterator[tuple[Images.Image, bytes]]":
    """Open an image and its EXIF; every error, also while it is decoded, becomes one ValueError."""
    from PIL import Image, UnidentifiedImageError, features

    try:
        with open_image_source(source) as file, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            exif = check_structure(file, head_only=head_only)
            limited = cast(BinaryIO, LimitedFile(file))
            with Image.open(limited, formats=FORMATS) as image:
                check_pixels(image.format, image.width, image.height)
                yield image, exif
    except UnidentifiedImageError as error:
        hint = "" if features.check("avif") else "; this Pillow reads no AVIF"
        raise ValueError(f"{display_source(source)} is not an image, or a damaged one{hint}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{display_source(source)} may be a decompression bomb:"
            f" images may have {Image.MAX_IMAGE_PIXELS} pixels"
        ) from error
    except CostError as error:
        raise ValueError(f"{display_source(source)} {error}") from error
    except (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        # Pillow's decoders raise all of these on malformed files.
        reason = getattr(error, "strerror", None) or one_line(error)
        raise ValueError(f"cannot read the image {display_source(source)}: {reason}") from error


def _orientation(image: "Images.Image", exif: bytes) -> int:
    """The orientation of the image's pixels; Pillow itself has turned those of a TIFF."""
    if image.format == "TIFF":
        return 1
    if not exif and isinstance(content := image.info.get("exif"), bytes):
        exif = content.removeprefix(b"Exif\0\0")
    if not exif and isinstance(text := image.info.get(RAW_PROFILE), str):
        with contextlib.suppress(ValueError):
            exif = bytes.fromhex("".join(text.split("\n")[3:])).removeprefix(b"Exif\0\0")
    return orientation_of(exif)


def _resize_centre_square(image: "Images.Image", side: int) -> "Images.Image":
    """Resize the centre square in one step, so that a long thin image never becomes a huge one."""
    from PIL import Image

    shorter = min(image.size)
    left, top = (image.width - shorter) / 2, (image.height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)


def _resize_and_cut(image: "Images.Image", side: int, shorter: int) -> "Images.Image":
    """Resize the shorter side, then cut the centre square out: in one step, as in `_resize_centre_square`.

    Sizes and places are rounded as by torchvision's `Resize` and `CenterCrop`.
    """
    from PIL import Image

    width, height = (
        shorter if length == min(image.size) else int(shorter * length / min(image.size))
        for length in image.size
    )
    left, top = round((width - side) / 2), round((height - side) / 2)
    x, y = image.width / width, image.height / height
    box = (left * x, top * y, (left + side) * x, (top + side) * y)
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)
