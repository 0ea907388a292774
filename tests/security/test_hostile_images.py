"""A decompression bomb or a file that is no image is refused in one line before it is decoded."""

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpstudy.data import DataSpec, load
from lpstudy.data.images import SUFFIXES, decode_pixels, size_of

PNG = b"\x89PNG\r\n\x1a\n"
SIDE = 60_000
"""Height and width of a bomb in pixels: 10 GB decoded."""
SECONDS = 2.0
PIXELS = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def head(side: int) -> bytes:
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))


def zeros(megabytes: int) -> bytes:
    """Zeros, compressed a thousandfold."""
    return zlib.compress(bytes(megabytes << 20), 9)


def png_with(*chunks: bytes) -> bytes:
    """A valid PNG with additional chunks before its pixels."""
    body = chunk(b"IDAT", zlib.compress(bytes((1 + 3 * 8) * 8)))
    return head(8) + b"".join(chunks) + body + chunk(b"IEND", b"")


def png_with_text_behind() -> bytes:
    return png_with()[:-12] + chunk(b"zTXt", b"k\0\0" + zeros(200)) + chunk(b"IEND", b"")


def saved(form: str) -> bytearray:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, form)
    return bytearray(buffer.getvalue())


def with_size(form: str, layout: str, at: int) -> bytes:
    content = saved(form)
    struct.pack_into(layout, content, at, SIDE, SIDE)
    return bytes(content)


def jpeg_of_that_size() -> bytes:
    content = saved("JPEG")
    struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, SIDE, SIDE)
    return bytes(content)


def tiff_of_that_size() -> bytes:
    image = Image.fromarray(PIXELS)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    content = buffer.getvalue()
    for tag, value in ((256, 11), (257, 9)):  # width, height: short or long values
        for kind, layout in ((3, "<HHIHH"), (4, "<HHII")):
            old = struct.pack(layout, tag, kind, 1, value, *([0] if kind == 3 else []))
            content = content.replace(old, struct.pack("<HHII", tag, 4, 1, SIDE))
    return content


def webp_of_that_size() -> bytes:
    canvas = (16_383).to_bytes(3, "little") * 2  # the largest
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas + b"VP8L" + struct.pack("<I", 1) + b"\x2f\0"
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def gif_whose_frame_is_larger_than_its_screen() -> bytes:
    content = saved("GIF")
    frame = content.index(b"\x2c", 13 + 3 * 2)
    struct.pack_into("<HH", content, frame + 5, SIDE, SIDE)
    return bytes(content)


BOMBS = {
    "PNG": head(SIDE) + chunk(b"IDAT", zeros(1)),
    "JPEG": jpeg_of_that_size(),
    "GIF": with_size("GIF", "<HH", 6),
    "BMP": with_size("BMP", "<ii", 18),
    "PPM": f"P6 {SIDE} {SIDE} 255\n".encode(),
    "TIFF": tiff_of_that_size(),
    "WEBP": webp_of_that_size(),
    "PNG text": png_with(chunk(b"zTXt", b"k\0\0" + zeros(200))),
    "PNG international text": png_with(chunk(b"iTXt", b"k\0\1\0\0\0" + zeros(200))),
    "PNG text behind the pixels": png_with_text_behind(),
    "PNG texts": png_with(*(chunk(b"zTXt", b"k%d\0\0" % n + zeros(1)) for n in range(80))),
    "PNG colour profile": png_with(chunk(b"iCCP", b"k\0\0" + zeros(200))),
}
"""The bombs, each of at most 300 kB."""


@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_is_refused_before_it_goes_off(case: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(BOMBS[case])
    assert path.stat().st_size < 300_000
    start_time = time.monotonic()
    with pytest.raises(ValueError, match=r"bomb\.png'") as error:
        decode_pixels(bytes(path), 16)
    assert time.monotonic() - start_time < SECONDS
    assert str(error.value).isprintable()


def test_what_goes_before_a_bombs_check_is_a_good_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_with(chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a word"))))
    assert decode_pixels(bytes(path), None).shape == (3, 8, 8)


def test_a_photograph_of_eighty_megapixels_is_no_bomb(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (10_000, 8_000)).save(path)
    assert size_of(bytes(path)) == (8_000, 10_000)


def test_no_bomb_is_found_by_pillows_warning_alone(tmp_path: Path) -> None:
    # Between its limit and twice that Pillow only warns; the bombs above lie beyond.
    path = tmp_path / "warned.png"
    path.write_bytes(head(10_000) + chunk(b"IDAT", zeros(1)))
    with pytest.raises(ValueError, match=r"warned\.png' may be a decompression bomb"):
        size_of(bytes(path))


NO_IMAGES = {
    "HTML": b"<html><script>alert(1)</script></html>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
    "PDF": b"%PDF-1.7\n",
    "zip": b"PK\x03\x04" + bytes(40),
    "program": b"\x7fELF" + bytes(60),
    "zeros": bytes(1000),
    "nothing": b"",
    "Pillow's text format": b"/* XPM */\nstatic char * a[] = {",
    "a font": b"STARTFONT 2.1\n",
}


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("case", NO_IMAGES)
def test_what_is_no_image_is_named_whatever_its_suffix(case: str, suffix: str, tmp_path: Path) -> None:
    assert suffix in SUFFIXES
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(NO_IMAGES[case])
    with pytest.raises(ValueError, match=rf"bad\{suffix}' is not an image"):
        decode_pixels(bytes(path), 16)


def refusal(path: Path) -> str | None:
    """The error of reading an image; None for a good one."""
    try:
        assert decode_pixels(bytes(path), 8).shape == (3, 8, 8)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, on TIFF's tags
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP"])
def test_a_damaged_file_is_an_image_or_one_line_that_names_it(form: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "spoilt.img"
    good, refused = saved(form), []
    for _ in range(150):
        content = bytearray(good)
        for at in rng.integers(0, min(120, len(content)), rng.integers(1, 5)):
            content[at] = rng.choice([0, 1, 127, 128, 255])
        path.write_bytes(content[: rng.integers(1, len(content) + 1)] if rng.random() < 0.3 else content)
        if (line := refusal(path)) is not None:
            refused.append(line)
    assert len(refused) > 10
    assert all("spoilt.img" in line and "\n" not in line for line in refused)


def test_a_folder_names_the_file_that_is_a_bomb(tmp_path: Path, cache: Path) -> None:
    del cache
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "tree" / part / name).mkdir(parents=True)
            for number in range(3):
                Image.fromarray(PIXELS).save(tmp_path / "tree" / part / name / f"{number}.png")
    bomb = tmp_path / "tree/test/b/2.png"
    bomb.write_bytes(BOMBS["PNG"])
    for streaming in (False, True):
        with pytest.raises(ValueError, match=r"test/b/2\.png'"):
            load(DataSpec(kind="image_folder", root=tmp_path / "tree", streaming=streaming))
