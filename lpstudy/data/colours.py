"""Every kind of pixels as opaque 8-bit RGB, by one rule for each: see `to_opaque_rgb`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image as Images

STRIP = 2**20
"""Pixels of one conversion."""
PHOTOMETRIC = 262
"""TIFF's tag of the photometric interpretation; its value 0 means that 0 is white."""
GREY_16_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


def to_opaque_rgb(image: "Images.Image") -> tuple["Images.Image", bool]:
    """Convert an image to RGB; also return whether any of its pixels was not opaque.

    - Transparency (an alpha channel, a transparent colour, a palette with alpha) is composed on white.
    - Grey of more than 8 bits is scaled to 8 and rounded; of colours with 16 bits the upper 8 are taken, as
      Pillow reads no more.
    - CMYK, YCbCr and LAB become RGB as Pillow converts them. Colour profiles and gamma are not applied.
    - Numbers without a known range are refused.

    Raises:
        ValueError: The pixels are floating-point numbers, or integers that are signed or have 32 bits.
    """
    raw = _raw_mode(image)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode == "I" and image.format == "TIFF":
        raise ValueError("its pixels are signed or 32-bit integers of unknown range")
    image.load()
    key = image.info.get("transparency")
    if image.mode in GREY_16_BIT_MODES or image.mode == "I":
        return _shrink_to_8_bits(image, raw, key)
    if image.mode in ("1", "L", "RGB") and key is not None:
        return _replace_key_colour(image, raw, key)
    palette = image.palette
    if image.mode == "P" and (key is not None or (palette is not None and palette.mode == "RGBA")):
        return _on_white(image.convert("RGBA"))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        return _on_white(image if image.mode == "RGBA" else image.convert("RGBA"))
    return (image if image.mode == "RGB" else image.convert("RGB")), False


def _raw_mode(image: "Images.Image") -> str:
    """Pillow's name for the layout of the pixels in the file; known before they are loaded."""
    tile = getattr(image, "tile", None)
    args = tile[0].args if tile else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _on_white(image: "Images.Image") -> tuple["Images.Image", bool]:
    """Compose an RGBA image on white, each value rounded to the nearest."""
    lowest, _ = image.getchannel("A").getextrema()
    if lowest == 255:
        return image.convert("RGB"), False

    def compose(strip: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        alpha = strip[..., 3:].astype(np.uint32)
        return ((strip[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)

    return _by_strips(image, compose), True


def _replace_key_colour(image: "Images.Image", raw: str, key: object) -> tuple["Images.Image", bool]:
    """Replace one colour, which the file states in its own number of bits, by white."""
    colour = np.array(key if isinstance(key, tuple) else [key], dtype=np.int64)
    match raw:
        case "L;2" | "L;4":
            colour = colour * (255 // (2 ** int(raw[2:]) - 1))
        case "RGB;16B":
            colour = colour >> 8
    has_transparency = False

    def whiten(strip: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        nonlocal has_transparency
        strip = strip if strip.ndim == 3 else strip[..., None]
        hit = (strip == colour).all(axis=-1, keepdims=True)
        has_transparency = has_transparency or bool(hit.any())
        values = np.where(hit, np.uint8(255), strip)
        return np.broadcast_to(values, (*values.shape[:2], 3))

    grey = image.convert("L") if image.mode == "1" else image
    return _by_strips(grey, whiten), has_transparency


def _shrink_to_8_bits(image: "Images.Image", raw: str, key: object) -> tuple["Images.Image", bool]:
    """Convert grey of 16 bits, or of 12, to 8; a transparent value becomes white."""
    maximum = 4095 if raw == "I;12" else 65535
    inverted = getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0
    has_transparency = False

    def shrink(strip: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        nonlocal has_transparency
        values = strip.astype(np.int64).clip(0, maximum)
        values = maximum - values if inverted else values
        grey = (values * 255 + maximum // 2) // maximum
        if isinstance(key, int):
            hit = strip == key
            has_transparency = has_transparency or bool(hit.any())
            grey = np.where(hit, 255, grey)
        return np.broadcast_to(grey.astype(np.uint8)[..., None], (*grey.shape, 3))

    return _by_strips(image, shrink), has_transparency


def _by_strips(
    image: "Images.Image", convert: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]
) -> "Images.Image":
    """Convert an image piece by piece: arrays of a whole large image would fill the memory."""
    from PIL import Image

    result = Image.new("RGB", image.size)
    width = min(image.width, STRIP)
    height = max(1, STRIP // width)
    for top in range(0, image.height, height):
        for left in range(0, image.width, width):
            box = (left, top, min(left + width, image.width), min(top + height, image.height))
            piece = np.ascontiguousarray(convert(np.asarray(image.crop(box))))
            result.paste(Image.fromarray(piece), box[:2])
    return result
