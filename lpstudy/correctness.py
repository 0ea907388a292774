"""The record of correctly classified images as text: the image count, and one bit per image in base64.

A final's record has further lines of shifted test sets, each with its name before it.
"""

import base64
import binascii
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

MAX_IMAGES = 50_000_000
"""The most images of a record; one with more counts as damaged."""
MAX_LINES = 1000
"""The most lines of a final's record."""
_NAME = re.compile(r"[A-Za-z0-9_./-]{1,100}")
_RECORD = re.compile(r"([1-9]\d{0,7}):([A-Za-z0-9+/]*={0,2})")


def pack(correct: NDArray[np.bool_]) -> str:
    """Encode a record of n images in order; ImageNet's 50,000 take 8.3 kB."""
    return f"{len(correct)}:{base64.b64encode(np.packbits(correct).tobytes()).decode('ascii')}"


def pack_all(correct: NDArray[np.bool_], shifted: Mapping[str, NDArray[np.bool_]]) -> str:
    """Encode the record of a final: a line for the test set, then one for each shifted one by name."""
    return "\n".join([pack(correct), *(f"{name} {pack(one)}" for name, one in shifted.items())])


def shifted_records(record: str) -> dict[str, str]:
    """The lines of shifted test sets in a final's record by name, each for `unpack`.

    Raises:
        ValueError: A name is not one, or is there twice.
    """
    lines = record.split("\n")
    if len(lines) > MAX_LINES:
        raise ValueError(f"a record of test images has more than {MAX_LINES} lines")
    shifted: dict[str, str] = {}
    for line in lines[1:]:
        name, _, content = line.partition(" ")
        if not _NAME.fullmatch(name) or name in shifted:
            raise ValueError(f"not a name of shifted test images, or one twice: {name[:40]!r}")
        shifted[name] = content
    return shifted


def check_record(record: str) -> None:
    """Check a final's whole record.

    Raises:
        ValueError: The text is not such a record.
    """
    for line in (record, *shifted_records(record).values()):
        unpack(line)


def unpack(record: str) -> NDArray[np.bool_]:
    """Decode the record of the test set: the only line of `pack`, or the first of `pack_all`.

    Raises:
        ValueError: The text is not such a record.
    """
    record = first_line(record)
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


def first_line(record: str) -> str:
    """A final's record without the shifted test sets."""
    return record.partition("\n")[0]
