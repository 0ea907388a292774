"""Image files, written byte by byte or by Pillow."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)
PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, kind: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG by its specification: rows are what stands behind each row's filter byte 0."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    step = len(rows) // height
    filtered = b"".join(b"\0" + rows[at : at + step] for at in range(0, len(rows), step))
    return PNG + head + b"".join(extra) + chunk(b"IDAT", zlib.compress(filtered)) + chunk(b"IEND", b"")


def saved(path: Path, image: Image.Image, **options: object) -> bytes:
    image.save(path, **options)
    return bytes(path)
