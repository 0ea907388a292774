"""The record of correctly classified images as text: the image count, and one bit per image in base64."""

import base64
import binascii
import re

import numpy as np
from numpy.typing import NDArray

MAX_IMAGES = 50_000_000
"""The most images of a record; one with more counts as damaged."""
_RECORD = re.compile(r"([1-9]\d{0,7}):([A-Za-z0-9+/]*={0,2})")


def pack(correct: NDArray[np.bool_]) -> str:
    """Encode a record of n images in order; ImageNet's 50,000 take 8.3 kB."""
    return f"{len(correct)}:{base64.b64encode(np.packbits(correct).tobytes()).decode('ascii')}"


def unpack(record: str) -> NDArray[np.bool_]:
    """Decode a record of `pack`.

    Raises:
        ValueError: The text is not such a record.
    """
    match = _RECORD.fullmatch(record)
    if match is None or int(match[1]) > MAX_IMAGES:
        raise ValueError(f"not a record of test images: {record[:40]!r}")
    count = int(match[1])
    try:
        content = base64.b64decode(match[2], validate=True)
    except binascii.Error as error:
        raise ValueError(f"not a record of test images: {error}") from None
    if len(content) != -(-count // 8):
        raise ValueError(f"a record of {count} test images has {len(content)} bytes")
    return np.unpackbits(np.frombuffer(content, np.uint8), count=count).astype(np.bool_)
