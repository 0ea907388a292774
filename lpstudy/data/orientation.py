"""EXIF: the orientation of an image, and the memory that its directory would take.

Pillow's reader is not used, for it loads every entry of a directory: entries that all name the same bytes
would turn a small file into gigabytes.
"""

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image as Images

ORIENTATION = 0x0112
SHORT = 3
ENTRY = 12
"""Bytes of an entry of a directory."""
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Bytes of a value by the number of its type."""
SIDEWAYS = (5, 6, 7, 8)
"""Orientations that exchange width and height."""


def orientation_of(exif: bytes) -> int:
    """The orientation in [1, 8] that EXIF states; 1, upright, where it states none or is damaged."""
    try:
        order, entries = _directory(exif)
        for tag, kind, count, at in entries:
            if tag == ORIENTATION and kind == SHORT and count == 1:
                (value,) = struct.unpack_from(f"{order}H", exif, at)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def directory_bytes(exif: bytes) -> int:
    """The total bytes of the values of the first directory."""
    try:
        _, entries = _directory(exif)
    except struct.error:
        return 0
    return sum(min(SIZES.get(kind, 1) * count, len(exif)) for _, kind, count, _ in entries)


def upright(image: "Images.Image", orientation: int) -> "Images.Image":
    """Turn and mirror an image as the orientation says."""
    from PIL import Image

    transpose = Image.Transpose
    methods = {
        2: transpose.FLIP_LEFT_RIGHT,
        3: transpose.ROTATE_180,
        4: transpose.FLIP_TOP_BOTTOM,
        5: transpose.TRANSPOSE,
        6: transpose.ROTATE_270,
        7: transpose.TRANSVERSE,
        8: transpose.ROTATE_90,
    }
    method = methods.get(orientation)
    return image if method is None else image.transpose(method)


def _directory(exif: bytes) -> tuple[str, list[tuple[int, int, int, int]]]:
    """The byte order, and the first directory's entries: tag, type, count, position of the value's field.

    Raises:
        struct.error: It is no EXIF, or ends before its first entry.
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        raise struct.error("neither II nor MM")
    magic, first = struct.unpack_from(f"{order}HI", exif, 2)
    if magic != 42:
        raise struct.error("no TIFF header")
    (count,) = struct.unpack_from(f"{order}H", exif, first)
    entries = []
    for number in range(min(count, (len(exif) - first - 2) // ENTRY)):
        at = first + 2 + number * ENTRY
        tag, kind, values = struct.unpack_from(f"{order}HHI", exif, at)
        entries.append((tag, kind, values, at + 8))
    return order, entries
