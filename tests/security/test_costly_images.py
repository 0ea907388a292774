"""An image that takes minutes or gigabytes to decode is refused at once, in one line that names it."""

import io
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lpstudy.data import DataSpec, image_limits, limited_file, load
from lpstudy.data.images import decode_pixels, size_of

SECONDS = 2.0
SMOOTH = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
    (64, 64)
)


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    SMOOTH.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*extra: bytes) -> bytes:
    buffer = io.BytesIO()
    SMOOTH.save(buffer, "PNG")
    content = buffer.getvalue()
    return content[:33] + b"".join(extra) + content[33:]


def many_scans(count: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    content = jpeg(progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + content[-2:]


def markers(body: bytes) -> bytes:
    content = jpeg()
    return content[:2] + body + content[2:]


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def greedy_exif(entries: int) -> bytes:
    """An EXIF directory whose entries all refer to the same bytes."""
    end = 8 + 2 + 12 * entries + 4
    size = 65_500 - end
    body = b"".join(struct.pack("<HHII", tag + 1000, 7, size, end) for tag in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + body + bytes(4) + bytes(size)


def gif_with_comment(blocks: int) -> bytes:
    buffer = io.BytesIO()
    SMOOTH.convert("P").save(buffer, "GIF")
    content = buffer.getvalue()
    begin = 13 + 3 * 2 ** ((content[10] & 7) + 1)
    comment = b"\x21\xfe" + (b"\xff" + bytes(255)) * blocks + b"\0"
    return content[:begin] + comment + content[begin:]


def tiff(entries: int = 0, strips: int = 1) -> bytes:
    """A TIFF with a number of additional entries and of strips."""
    tags = [(256, 3, 1, 8), (257, 3, 1, 8), (273, 4, strips, 8), (279, 4, strips, 8)]
    tags += [(40_000 + number % 20_000, 3, 1, 0) for number in range(entries)]
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + bytes(4)


def run_lengths(width: int, height: int, size: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, size, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + head + bytes(1024) + b"\1\0" * (size // 2)


COSTLY: dict[str, tuple[Callable[[], bytes], str]] = {
    "JPEG of 5,000 scans": (lambda: many_scans(5_000), "scans"),
    "JPEG of 60 MB of markers": (lambda: markers(segment(0xFE, b"") * 15_000_000), "markers"),
    "JPEG of full markers": (lambda: markers(segment(0xFE, bytes(65_000)) * 600), "bytes before its pixels"),
    "JPEG of padding": (lambda: markers(b"\xff" * 20_000_000), "markers and stray bytes"),
    "JPEG of stray bytes": (
        lambda: markers(segment(0xFE, b"") + b"\x01" * 20_000_000),
        "markers and stray bytes",
    ),
    "JPEG whose EXIF is greedy": (lambda: markers(segment(0xE1, b"Exif\0\0" + greedy_exif(4_000))), "EXIF"),
    "JPEG with markers between its scans": (
        lambda: (lambda c: c[:-2] + segment(0xFE, b"") * 50_000 + c[-2:])(many_scans(2)),
        "markers between",
    ),
    "PNG of empty chunks": (lambda: png(chunk(b"teSt", b"") * 1_000_000), "chunks"),
    "PNG with private chunks": (lambda: png(chunk(b"teSt", bytes(2**20)) * 40), "bytes beside its pixels"),
    "GIF with a long comment": (lambda: gif_with_comment(100_000), "blocks before its first frame"),
    "GIF with many comments": (
        lambda: (lambda c: c[:781] + b"\x21\xfe\0" * 100_000 + c[781:])(gif_with_comment(0)),
        "blocks before its first frame",
    ),
    "TIFF of many entries": (lambda: tiff(entries=60_000), "entries in a directory"),
    "TIFF of many strips": (lambda: tiff(strips=2_000_000), "strips or tiles"),
    "BMP of long run lengths": (lambda: run_lengths(5_000, 5_000, 20_000_000), "bytes of run lengths"),
    "BMP of wide run lengths": (lambda: run_lengths(80_000_000, 1, 600), "pixels in a row of run lengths"),
    "PPM of text": (lambda: b"P3 2500 2500 255\n" + b"1 " * 9_000_000, "bytes of text"),
    "PPM of scaled values": (
        lambda: b"P6 4000 4000 254\n" + bytes(100),
        "values, of which 254 is the largest",
    ),
}


@pytest.mark.parametrize("case", COSTLY)
def test_what_costs_too_much_is_named_at_once(case: str, tmp_path: Path) -> None:
    make, message = COSTLY[case]
    path = tmp_path / "costly.jpg"
    path.write_bytes(make())
    start_time = time.thread_time()
    with pytest.raises(ValueError, match=rf"costly\.jpg' has .*{message}") as error:
        decode_pixels(bytes(path), 16)
    assert time.thread_time() - start_time < SECONDS
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "case", ["JPEG of 60 MB of markers", "JPEG whose EXIF is greedy", "TIFF of many strips"]
)
def test_its_size_is_not_looked_for_either(case: str, tmp_path: Path) -> None:
    path = tmp_path / "costly.jpg"
    path.write_bytes(COSTLY[case][0]())
    with pytest.raises(ValueError, match=r"costly\.jpg' has too many"):
        size_of(bytes(path))


@pytest.mark.parametrize(
    ("head", "size"),
    [(b"RIFF\0\0\0\0WEBP", image_limits.LARGEST_READ_WHOLE), (b"II*\0", image_limits.LARGEST_FILE)],
)
def test_a_file_of_too_many_bytes_is_not_read(head: bytes, size: int, tmp_path: Path) -> None:
    path = tmp_path / "costly.webp"
    path.write_bytes(head)
    os.truncate(path, size + 1)
    with pytest.raises(ValueError, match=rf"costly\.webp' has {size + 1:,} bytes, more than"):
        decode_pixels(bytes(path), 16)


@pytest.mark.parametrize(
    "content",
    [
        jpeg(progressive=True),
        many_scans(50),
        jpeg(comment=b"x" * 60_000),
        jpeg() + bytes(range(256)) * 40_000,  # a film behind the photograph
        markers(segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000)) * 20),
        png(chunk(b"teSt", b"") * 1000),
        gif_with_comment(100),
        b"P3 2 1 255\n1 2 3 4 5 6",
        b"P5 2 1 7\n\0\7",
    ],
)
def test_what_is_unusual_but_cheap_is_read(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert decode_pixels(bytes(path), 8).shape == (3, 8, 8)


def test_scans_are_counted_to_the_end_of_the_image_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg() + b"\xff\xda\0\2" * 5_000)
    assert decode_pixels(bytes(path), 8).shape == (3, 8, 8)


@pytest.mark.parametrize("in_thread", [False, True])
def test_processor_time_is_limited_whatever_it_is_spent_on(
    in_thread: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slow.ppm"
    path.write_bytes(b"P3 1000 1000 255\n" + b"1 " * 3_000_000)
    monkeypatch.setattr(limited_file, "SECONDS", 0.05)
    messages: list[str] = []

    def read() -> None:
        with pytest.raises(ValueError, match=r"slow\.ppm' takes more than 0.05 s") as error:
            decode_pixels(bytes(path), 8)
        messages.append(str(error.value))

    if in_thread:
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(20)
    else:
        read()
    assert len(messages) == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_a_costly_image_ends_a_stream_from_whichever_process(
    tmp_path: Path, cache: Path, threads: int
) -> None:
    del cache
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "tree" / part / name).mkdir(parents=True)
            for number in range(3):
                pixels = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "tree" / part / name / f"{number}.png")
    data = load(DataSpec(kind="image_folder", root=tmp_path / "tree", streaming=True, image_size=8))
    (tmp_path / "tree/test/b/2.png").write_bytes(many_scans(5_000))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with pytest.raises(ValueError, match=r"test/b/2\.png' has too many scans"):
            list(data.test.batches(batch_size=2, device=torch.device("cpu")))
    finally:
        torch.set_num_threads(before)
