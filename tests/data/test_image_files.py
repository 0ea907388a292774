import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from lpstudy.data.images import decode_pixels, size_of

COLOURS = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)
SMOOTH = Image.fromarray(COLOURS[:4, :6]).resize((70, 50), Image.Resampling.BICUBIC)


def write_image(path: Path, image: Image.Image, **options: object) -> bytes:
    image.save(path, **options)
    return bytes(path)


def test_colours_come_out_as_they_are(tmp_path):
    path = write_image(tmp_path / "a.png", Image.fromarray(COLOURS))
    assert np.array_equal(decode_pixels(path, None), COLOURS.transpose(2, 0, 1))
    assert size_of(path) == (10, 14)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.png", "L"), ("a.png", "1"), ("a.png", "LA"), ("a.png", "RGBA"), ("a.gif", "P"), ("a.jpg", "CMYK"),
     ("a.jpg", "YCbCr"), ("a.tif", "LAB"), ("a.webp", "RGB"), ("a.bmp", "RGB"), ("a.ppm", "L")],
)  # fmt: skip
def test_every_mode_becomes_rgb_as_pillow_converts_it(tmp_path, name, mode):
    source = Image.fromarray(COLOURS)
    path = write_image(tmp_path / name, source.convert("RGB").convert(mode) if mode != "LAB" else lab())
    with Image.open(tmp_path / name) as image:
        expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(decode_pixels(path, None), expected)


def lab() -> Image.Image:
    return Image.frombytes("LAB", (14, 10), COLOURS.tobytes())


@pytest.mark.filterwarnings("error")
def test_pillow_warns_of_nothing_on_a_palette_with_transparency(tmp_path):
    palette = Image.fromarray(COLOURS).quantize(16)
    path = write_image(tmp_path / "a.png", palette, transparency=bytes([255] * 16))
    assert np.array_equal(decode_pixels(path, None), np.asarray(palette.convert("RGB")).transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_to_eight_not_cut_off(tmp_path, name):
    deep = np.array([[0, 128, 129, 256, 257, 32768, 65279, 65535]], dtype=np.uint16)
    path = write_image(tmp_path / name, Image.fromarray(deep))
    expected = np.rint(deep / 65535 * 255).astype(np.uint8)
    assert np.array_equal(decode_pixels(path, None), np.stack([expected] * 3))


def test_a_moving_image_gives_its_first_frame(tmp_path):
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    path = write_image(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (decode_pixels(path, None) == 10).all()


@pytest.mark.parametrize("size", [(70, 50), (50, 70), (64, 32), (40, 40)])
@pytest.mark.parametrize("side", [16, 64])
def test_shorter_side_is_resized_and_the_centre_cut_as_torchvision_does(tmp_path, size, side):
    image = SMOOTH.resize(size)
    path = write_image(tmp_path / "a.png", image)
    both = transforms.Compose([transforms.Resize(side), transforms.CenterCrop(side)])
    expected = np.asarray(both(image)).transpose(2, 0, 1).astype(int)
    difference = np.abs(decode_pixels(path, side).astype(int) - expected)
    # torchvision rounds the longer side and the crop to whole pixels one after the other: half a pixel.
    assert difference.mean() <= 3.5 if size[0] != size[1] else difference.max() == 0


def test_an_image_of_the_right_size_is_not_resampled(tmp_path):
    square = Image.fromarray(COLOURS[:, :10])
    assert np.array_equal(
        decode_pixels(write_image(tmp_path / "a.png", square), 10), COLOURS[:, :10].transpose(2, 0, 1)
    )


def test_a_very_long_image_does_not_grow_on_the_way(tmp_path):
    path = write_image(tmp_path / "a.png", Image.new("RGB", (100_000, 1), (1, 2, 3)))
    assert decode_pixels(path, 224)[:, 5, 5].tolist() == [1, 2, 3]


def truncated(path: Path) -> None:
    SMOOTH.save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:-600])


def truncated_png(path: Path) -> None:
    SMOOTH.save(path, format="PNG")
    path.write_bytes(path.read_bytes()[:-3000])


def text(path: Path) -> None:
    path.write_text("these are not\nthe pixels you are looking for")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def program(path: Path) -> None:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")


def floats(path: Path) -> None:
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(path, format="TIFF")


def nothing(path: Path) -> None:
    pass


def folder(path: Path) -> None:
    path.mkdir()


def bomb(path: Path) -> None:
    """The head of a PNG of 100,000 x 100,000 pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated, "Truncated"),
        (truncated_png, "truncated"),
        (text, "not an image, or a damaged one"),
        (empty, "not an image, or a damaged one"),
        (program, "not an image, or a damaged one"),
        (floats, "floating-point numbers"),
        (nothing, "No such file"),
        (folder, "Is a directory"),
        (bomb, "decompression bomb: images may have"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, make, message):
    path = tmp_path / "bad\nname.jpg"
    make(path)
    with pytest.raises(ValueError, match=message) as caught:
        decode_pixels(bytes(path), 16)
    assert "\n" not in str(caught.value)
    assert "bad\\nname.jpg" in str(caught.value)


def test_a_suspiciously_large_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = write_image(tmp_path / "a.png", SMOOTH)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50 * 70 - 1)
    for function in (size_of, lambda path: decode_pixels(path, None)):
        with pytest.raises(ValueError, match="decompression bomb"):
            function(path)
