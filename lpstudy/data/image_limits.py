"""Limits on the cost of an image: a file that takes minutes or gigabytes is refused before it is decoded.

The limits are on the structure of a file, so that every machine and process gives one answer. `LimitedFile`
stops a file that passes them and still takes long.
"""

import os
import re
import struct
from typing import BinaryIO

from lpstudy.data.limited_file import CostError
from lpstudy.data.orientation import directory_bytes

MEMORY = 2**30
"""Most bytes of an image while it is decoded, estimated from its pixels."""
BYTES_PER_PIXEL = {"WEBP": 16, "AVIF": 16}
DEFAULT_BYTES_PER_PIXEL = 12
"""Four as decoded, four as RGB, and four for the decoder."""
LARGEST_FILE = 2**30
LARGEST_READ_WHOLE = 2**28
"""Most bytes of a file that Pillow reads into memory as a whole."""
READ_WHOLE = ("WEBP", "AVIF")
SCANS = 100
"""Most scans of a JPEG, each of which passes over all pixels; a progressive one has about 10."""
MARKERS = 2_000
"""Most markers of a JPEG, counting bytes between them that belong to none."""
HEADER = 2**25
"""Most bytes of everything but the pixels: profiles, thumbnails, notes."""
CHUNKS = 200_000
"""Most chunks of a PNG."""
SUB_BLOCKS = 4_096
"""Most blocks of the extensions before a GIF's first frame; Pillow copies all earlier ones for each."""
STRIPS = 2**20
"""Most strips or tiles of a TIFF."""
ENTRIES = 4_096
"""Most entries of a TIFF's directory."""
DIRECTORY = 2**26
"""Most bytes of the values in EXIF's and TIFF's directories."""
SLOW_SAMPLES = 2**22
"""Most values that are decoded in Python: a text PPM, or one with another maximum than 255 or 65,535."""
RUN_LENGTH_BYTES = 2**23
"""Most bytes of a compressed BMP, which is decoded in Python."""
RUN_LENGTH_WIDTH = 2**16

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker within a JPEG's pixels; 0xff before 0 is a value and before 0xd0 to 0xd7 a restart."""
SOS, EOI, APP1, APP2 = 0xDA, 0xD9, 0xE1, 0xE2
MARKERS_WITHOUT_LENGTH = (0x01, 0xD8, *range(0xD0, 0xD8))
"""JPEG markers that no length follows."""


def check_pixels(form: str | None, width: int, height: int) -> None:
    """Refuse an image that needs too much memory.

    Raises:
        CostError: The image has too many pixels.
    """
    each = BYTES_PER_PIXEL.get(form or "", DEFAULT_BYTES_PER_PIXEL)
    if width * height > MEMORY // each:
        raise CostError(
            f"has {width}x{height} pixels and may be a decompression bomb: images may have {MEMORY // each}"
            f" pixels as {form}"
        )


def check_structure(file: BinaryIO, *, head_only: bool) -> bytes:
    """Refuse a file whose structure says that decoding it takes long or much memory.

    Args:
        file: Positioned at its start, before and after the call.
        head_only: Whether the pixels will not be decoded.

    Returns:
        The EXIF of a JPEG or PNG, wherever it is; empty where there is none.

    Raises:
        CostError: The file has too much of something, which the message names.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(32)
    exif = b""
    if size > LARGEST_FILE:
        raise CostError(f"has {size:,} bytes, more than {LARGEST_FILE:,}")
    try:
        if head.startswith(b"\xff\xd8\xff"):
            exif = _check_jpeg(file, head_only=head_only)
        elif head.startswith(b"\x89PNG\r\n\x1a\n"):
            exif = _check_png(file)
        elif head.startswith(b"GIF8"):
            _check_gif(file)
        elif head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            _check_tiff(file, head)
        elif head.startswith(b"BM"):
            _check_bmp(head + file.read(32), size)
        elif head[:1] == b"P" and head[1:2] in b"123456":
            _check_ppm(head + file.read(4096), size)
        elif head[8:12] == b"WEBP" or head[4:8] == b"ftyp":
            if size > LARGEST_READ_WHOLE:
                raise CostError(f"has {size:,} bytes, more than {LARGEST_READ_WHOLE:,}")
            if head[4:8] == b"ftyp":
                _check_avif(file)
    except struct.error:
        pass  # a truncated file: Pillow reports it
    file.seek(0)
    return exif


def _check_jpeg(file: BinaryIO, *, head_only: bool) -> bytes:
    """Check the markers up to the first scan and the number of scans; return the EXIF."""
    file.seek(2)
    steps = total = 0
    exif = b""
    while True:
        steps += 1
        byte = file.read(1)
        if not byte:
            return exif
        if byte != b"\xff":  # Pillow skips such bytes one by one
            _at_most(steps, MARKERS, "markers and stray bytes")
            continue
        (marker,) = file.read(1) or b"\xd9"
        if marker == 0xFF:
            file.seek(-1, os.SEEK_CUR)
        elif marker in (SOS, EOI):
            break
        elif marker != 0 and marker not in MARKERS_WITHOUT_LENGTH:
            (length,) = struct.unpack(">H", file.read(2))
            total += length
            content = file.read(max(0, length - 2))
            if marker == APP1 and content.startswith(b"Exif\0"):
                exif += content[6:]
            if marker == APP2 and content.startswith(b"MPF\0"):
                _at_most(directory_bytes(content[4:]), DIRECTORY, "bytes in its directory")
        _at_most(steps, MARKERS, "markers and stray bytes")
        _at_most(total, HEADER, "bytes before its pixels")
    _at_most(directory_bytes(exif), DIRECTORY, "bytes in its EXIF")
    if not head_only and marker == SOS:
        _count_scans(file.read())
    return exif


def _count_scans(pixels: bytes) -> None:
    scans, steps, position = 1, 0, 0
    while match := _MARKER.search(pixels, position):
        marker, position = pixels[match.start() + 1], match.end()
        if marker == EOI:
            return
        steps += 1
        scans += marker == SOS
        _at_most(scans, SCANS, "scans")
        _at_most(steps, MARKERS, "markers between its scans")
        if marker not in MARKERS_WITHOUT_LENGTH:
            position += int.from_bytes(pixels[position : position + 2])


def _check_png(file: BinaryIO) -> bytes:
    """Check the chunks without reading the pixels; return the EXIF."""
    file.seek(8)
    count = total = 0
    exif = b""
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        count += 1
        _at_most(count, CHUNKS, "chunks")
        if name not in (b"IDAT", b"fdAT"):
            total += length
            _at_most(total, HEADER, "bytes beside its pixels")
        if name == b"eXIf":
            exif = file.read(length)
            file.seek(4, os.SEEK_CUR)
        elif name == b"IEND":
            break
        else:
            file.seek(length + 4, os.SEEK_CUR)
    return exif.removeprefix(b"Exif\0\0")


def _check_gif(file: BinaryIO) -> None:
    """Check the extensions before the first frame."""
    file.seek(10)
    flags = file.read(3)
    if flags and flags[0] & 0x80:
        file.seek(3 * 2 ** ((flags[0] & 7) + 1), os.SEEK_CUR)
    blocks = 0
    while (kind := file.read(1)) and kind not in (b"\x2c", b"\x3b"):
        blocks += 1
        if kind == b"\x21":
            file.seek(1, os.SEEK_CUR)
            while (length := file.read(1)) and length != b"\0":
                blocks += 1
                file.seek(length[0], os.SEEK_CUR)
                _at_most(blocks, SUB_BLOCKS, "blocks before its first frame")
        _at_most(blocks, SUB_BLOCKS, "blocks before its first frame")


def _check_tiff(file: BinaryIO, head: bytes) -> None:
    """Check the first directory, and those of EXIF that it names."""
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    offset_format, count_format, entry_format = ("Q", "Q", "HHQQ") if big else ("I", "H", "HHII")
    (first,) = struct.unpack_from(order + offset_format, head, 8 if big else 4)
    queue, size = [first], 0
    directories = 0
    while queue and directories < 8:
        directories += 1
        file.seek(queue.pop(0))
        (count,) = struct.unpack(order + count_format, file.read(struct.calcsize(count_format)))
        _at_most(count, ENTRIES, "entries in a directory")
        for _ in range(count):
            raw = file.read(struct.calcsize("=" + entry_format))
            tag, kind, values, value = struct.unpack(order + entry_format, raw)
            size += values * _SIZES.get(kind, 1)
            _at_most(size, DIRECTORY, "bytes in its directories")
            if tag in (273, 279, 324, 325):
                _at_most(values, STRIPS, "strips or tiles")
            if tag in (34665, 34853, 40965):
                queue.append(value)


_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def _check_bmp(head: bytes, size: int) -> None:
    """Check run lengths, which are decoded in Python, and may skip rows."""
    (header,) = struct.unpack_from("<I", head, 14)
    if header < 40:
        return
    (width,) = struct.unpack_from("<i", head, 18)
    (compression,) = struct.unpack_from("<I", head, 30)
    if compression in (1, 2):
        _at_most(size, RUN_LENGTH_BYTES, "bytes of run lengths")
        _at_most(abs(width), RUN_LENGTH_WIDTH, "pixels in a row of run lengths")


def _check_ppm(head: bytes, size: int) -> None:
    """Check text, and numbers that have to be scaled one by one."""
    kind = head[1:2]
    if kind in b"123":
        _at_most(size, SLOW_SAMPLES * 4, "bytes of text")
        return
    if kind == b"4":
        return
    words = re.sub(rb"#[^\r\n]*", b"", head[2:]).split(maxsplit=3)
    if len(words) < 3 or not all(word.isdigit() and len(word) < 10 for word in words[:3]):
        return
    width, height, maximum = (int(word) for word in words[:3])
    if maximum != 255 and not (maximum == 65535 and kind == b"5"):
        samples = width * height * (3 if kind == b"6" else 1)
        _at_most(samples, SLOW_SAMPLES, f"values, of which {maximum} is the largest,")


def _check_avif(file: BinaryIO) -> None:
    """Check the EXIF, wherever it is: Pillow loads it when it opens the file."""
    file.seek(0)
    content = file.read()
    for match in re.finditer(rb"II\*\0|MM\0\*", content):
        _at_most(directory_bytes(content[match.start() :][:HEADER]), DIRECTORY, "bytes in its EXIF")


def _at_most(value: int, limit: int, what: str) -> None:
    if value > limit:
        raise CostError(f"has too many {what}: more than {limit:,}, which would take long or much memory")
