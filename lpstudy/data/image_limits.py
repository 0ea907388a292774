"""How much an image may cost: what takes minutes or gigabytes is refused before it is decoded.

The structure of a file is looked at, which gives the same answer on every machine and in every process. What
still takes long is stopped by `LimitedFile`.
"""

import os
import re
import struct
from typing import BinaryIO

from lpstudy.data.limited_file import CostError
from lpstudy.data.orientation import directory_bytes

MEMORY = 2**30
"""Bytes that an image may take while it is decoded, as estimated from its pixels."""
BYTES_PER_PIXEL = {"WEBP": 16, "AVIF": 16}
DEFAULT_BYTES_PER_PIXEL = 12
"""Four as decoded, four as RGB, and what the decoder holds beside them."""
LARGEST_FILE = 2**30
LARGEST_READ_WHOLE = 2**28
"""Bytes of a file that Pillow reads into memory as a whole."""
READ_WHOLE = ("WEBP", "AVIF")
SCANS = 100
"""Of a JPEG, each of which passes over all pixels; a progressive one has about 10."""
MARKERS = 2_000
"""Of a JPEG, and bytes between them that belong to none."""
HEADER = 2**25
"""Bytes of all that stands before and beside the pixels: profiles, thumbnails, notes."""
CHUNKS = 200_000
"""Of a PNG."""
SUB_BLOCKS = 4_096
"""Of the extensions that stand before a GIF's first frame; Pillow copies all earlier ones for each."""
STRIPS = 2**20
"""Of a TIFF, or tiles."""
ENTRIES = 4_096
"""Of a TIFF's directory."""
DIRECTORY = 2**26
"""Bytes of the values in EXIF's and TIFF's directories."""
SLOW_SAMPLES = 2**22
"""Values that are decoded in Python: of a text PPM, or one with another maximum than 255 or 65,535."""
RUN_LENGTH_BYTES = 2**23
"""Of a compressed BMP, which is decoded in Python."""
RUN_LENGTH_WIDTH = 2**16

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Where a JPEG's pixels are interrupted; 0xff before 0 is a value and before 0xd0 to 0xd7 a restart."""
SOS, EOI, APP1, APP2 = 0xDA, 0xD9, 0xE1, 0xE2
BARE = (0x01, 0xD8, *range(0xD0, 0xD8))
"""Markers without a length."""


def check_pixels(form: str | None, width: int, height: int) -> None:
    """Refuse an image that is larger than memory has room for.

    Raises:
        CostError: It is.
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
        file: At its begin; afterwards it is there again.
        head_only: The pixels are not to be decoded.

    Returns:
        The EXIF of a JPEG or PNG, wherever it stands; empty where there is none.

    Raises:
        CostError: The file, naming what there is too much of.
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
        pass  # cut off: Pillow says so
    file.seek(0)
    return exif


def _check_jpeg(file: BinaryIO, *, head_only: bool) -> bytes:
    """Markers up to the first scan one by one, and the number of scans."""
    file.seek(2)
    steps = total = 0
    exif = b""
    while True:
        steps += 1
        byte = file.read(1)
        if not byte:
            return exif
        if byte != b"\xff":  # Pillow passes over such bytes one by one
            _at_most(steps, MARKERS, "markers and stray bytes")
            continue
        (marker,) = file.read(1) or b"\xd9"
        if marker == 0xFF:
            file.seek(-1, os.SEEK_CUR)
        elif marker in (SOS, EOI):
            break
        elif marker != 0 and marker not in BARE:
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


def _count_scans(rest: bytes) -> None:
    scans, steps, at = 1, 0, 0
    while found := _MARKER.search(rest, at):
        marker, at = rest[found.start() + 1], found.end()
        if marker == EOI:
            return
        steps += 1
        scans += marker == SOS
        _at_most(scans, SCANS, "scans")
        _at_most(steps, MARKERS, "markers between its scans")
        if marker not in BARE:
            at += int.from_bytes(rest[at : at + 2])


def _check_png(file: BinaryIO) -> bytes:
    """Chunks one by one, their pixels unread."""
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
    """Extensions before the first frame."""
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
    """The first directory, and those of EXIF that it names."""
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    offset_format, count_format, entry_format = ("Q", "Q", "HHQQ") if big else ("I", "H", "HHII")
    (first,) = struct.unpack_from(order + offset_format, head, 8 if big else 4)
    left, size = [first], 0
    directories = 0
    while left and directories < 8:
        directories += 1
        file.seek(left.pop(0))
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
                left.append(value)


_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def _check_bmp(head: bytes, size: int) -> None:
    """Run lengths, which are decoded in Python, and may leave out rows."""
    (header,) = struct.unpack_from("<I", head, 14)
    if header < 40:
        return
    (width,) = struct.unpack_from("<i", head, 18)
    (compression,) = struct.unpack_from("<I", head, 30)
    if compression in (1, 2):
        _at_most(size, RUN_LENGTH_BYTES, "bytes of run lengths")
        _at_most(abs(width), RUN_LENGTH_WIDTH, "pixels in a row of run lengths")


def _check_ppm(head: bytes, size: int) -> None:
    """Text, and numbers that have to be scaled one by one."""
    kind = head[1:2]
    if kind in b"123":
        _at_most(size, SLOW_SAMPLES * 4, "bytes of text")
        return
    if kind == b"4":
        return
    words = re.sub(rb"#[^\r\n]*", b"", head[2:]).split(maxsplit=3)
    if len(words) < 3 or not all(word.isdigit() and len(word) < 10 for word in words[:3]):
        return
    width, height, most = (int(word) for word in words[:3])
    if most != 255 and not (most == 65535 and kind == b"5"):
        samples = width * height * (3 if kind == b"6" else 1)
        _at_most(samples, SLOW_SAMPLES, f"values, of which {most} is the largest,")


def _check_avif(file: BinaryIO) -> None:
    """EXIF, wherever it lies: Pillow loads it while it opens the file."""
    file.seek(0)
    content = file.read()
    for found in re.finditer(rb"II\*\0|MM\0\*", content):
        _at_most(directory_bytes(content[found.start() :][:HEADER]), DIRECTORY, "bytes in its EXIF")


def _at_most(value: int, limit: int, what: str) -> None:
    if value > limit:
        raise CostError(f"has too many {what}: more than {limit:,}, which would take long or much memory")
