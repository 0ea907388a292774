"""The decoding of every kind of pixels: values by hand, or from NumPy."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from pngs import COLOURS, chunk, png, saved

from lpstudy.data.images import SUFFIXES, decode_image, decode_pixels


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha.astype(float)[..., None] / 255
    return np.floor(colour * share + 255 * (1 - share) + 0.5).astype(np.uint8).transpose(2, 0, 1)


ALPHA = np.linspace(0, 255, 140).round().astype(np.uint8).reshape(10, 14)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_transparency_is_composed_on_white(tmp_path: Path, name: str) -> None:
    image = Image.fromarray(np.dstack([COLOURS, ALPHA]))
    exact = {"lossless": True, "exact": True} if name == "a.webp" else {}
    result = decode_image(saved(tmp_path / name, image, **exact), None)
    assert np.array_equal(result.pixels, on_white(COLOURS, ALPHA))
    assert result.transparent


def test_grey_with_alpha_is_composed_on_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.dstack([COLOURS[..., 0], ALPHA]), "LA")
    result = decode_image(saved(tmp_path / "a.png", image), None)
    assert np.array_equal(result.pixels, on_white(np.repeat(COLOURS[..., :1], 3, 2), ALPHA))
    assert result.transparent


def test_an_alpha_channel_that_is_opaque_is_no_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(np.dstack([COLOURS, np.full_like(ALPHA, 255)]))
    result = decode_image(saved(tmp_path / "a.png", image), None)
    assert np.array_equal(result.pixels, COLOURS.transpose(2, 0, 1))
    assert not result.transparent


@pytest.mark.parametrize(
    ("entries", "alphas"), [(b"\0", (0, 255, 255)), (b"\x80\xff\0", (128, 255, 0)), (b"", (255, 255, 255))]
)
def test_a_palette_with_transparency_by_index_or_by_bytes(
    tmp_path: Path, entries: bytes, alphas: tuple[int, ...]
) -> None:
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], dtype=np.uint8)
    extra = (chunk(b"tRNS", entries),) if entries else ()
    path = tmp_path / "a.png"
    path.write_bytes(png(3, 1, 8, 3, bytes([0, 1, 2]), chunk(b"PLTE", colours.tobytes()), *extra))
    result = decode_image(bytes(path), None)
    assert np.array_equal(result.pixels, on_white(colours[None], np.array([alphas])))
    assert result.transparent == bool(entries)


def test_the_transparent_index_of_a_gif_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    result = decode_image(saved(tmp_path / "a.gif", image, transparency=1), None)
    assert result.pixels[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255], [70, 80, 90]]
    assert result.transparent


@pytest.mark.parametrize(
    ("depth", "rows", "key", "expected"),
    [
        (1, b"\x40", 1, [0, 255, 0]),
        (1, b"\x40", 0, [255, 255, 255]),
        (2, b"\x1b", 2, [0, 85, 255]),  # 0 1 2, 2 transparent
        (4, b"\x05\xf0", 5, [0, 255, 255]),  # 0 5 15
        (8, b"\x00\x05\xf0", 5, [0, 255, 240]),
        (16, b"\x00\x00\x05\x00\x05\x01", 0x0500, [0, 255, 5]),
    ],
)
def test_the_transparent_value_of_grey_is_white_whatever_its_depth(
    tmp_path: Path, depth: int, rows: bytes, key: int, expected: list[int]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(3, 1, depth, 0, rows, chunk(b"tRNS", struct.pack(">H", key))))
    result = decode_image(bytes(path), None)
    assert result.pixels[:, 0].tolist() == [expected] * 3
    assert result.transparent


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_colour_is_white_whatever_its_depth(tmp_path: Path, depth: int) -> None:
    layout = ">3B" if depth == 8 else ">3H"
    scale = 1 if depth == 8 else 257
    rows = b"".join(struct.pack(layout, *(v * scale for v in c)) for c in ((1, 2, 3), (1, 2, 4)))
    key = struct.pack(">3H", *(v * scale for v in (1, 2, 3)))
    path = tmp_path / "a.png"
    path.write_bytes(png(2, 1, depth, 2, rows, chunk(b"tRNS", key)))
    assert decode_pixels(bytes(path), None)[:, 0].T.tolist() == [[255, 255, 255], [1, 2, 4]]


def test_colours_of_16_bits_keep_their_upper_8(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(2, 1, 16, 2, struct.pack(">6H", 0, 255, 256, 32768, 65279, 65535)))
    assert decode_pixels(bytes(path), None)[:, 0].T.tolist() == [[0, 0, 1], [128, 254, 255]]


@pytest.mark.parametrize(("kind", "values"), [(4, (25700, 32896)), (6, (25700, 25700, 25700, 32896))])
def test_16_bits_with_alpha_are_composed_on_white(tmp_path: Path, kind: int, values: tuple[int, ...]) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(1, 1, 16, kind, struct.pack(f">{len(values)}H", *values)))
    result = decode_image(bytes(path), None)
    assert result.pixels.flatten().tolist() == [round(100 * 128 / 255 + 255 - 128)] * 3
    assert result.transparent


def tiff(bits: int, photometric: int, sample: int, data: bytes, width: int, order: str = "<") -> bytes:
    """An uncompressed TIFF of one row and one sample a pixel, by its specification."""
    entries = [(256, 3, width), (257, 3, 1), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 0)]
    entries += [(277, 3, 1), (278, 3, 1), (279, 4, len(data)), (339, 3, sample)]
    begin = 8 + 2 + 12 * len(entries) + 4
    body = struct.pack(order + "H", len(entries))
    for tag, kind, value in entries:
        value = begin if tag == 273 else value
        packed = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        body += struct.pack(order + "HHI", tag, kind, 1) + packed
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "I", 8) + body + bytes(4) + data


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (tiff(16, 1, 1, struct.pack("<3H", 0, 32768, 65535), 3), [0, 128, 255]),
        (tiff(16, 1, 1, struct.pack(">3H", 0, 32768, 65535), 3, ">"), [0, 128, 255]),
        (tiff(16, 0, 1, struct.pack("<3H", 0, 32768, 65535), 3), [255, 127, 0]),
        (tiff(8, 0, 1, bytes([0, 100, 255]), 3), [255, 155, 0]),
        (tiff(12, 1, 1, bytes([0x00, 0x08, 0x00, 0xFF, 0xF0]), 3), [0, 128, 255]),
        (tiff(1, 0, 1, b"\x40", 3), [255, 0, 255]),
    ],
)  # fmt: skip
def test_grey_tiffs_are_scaled_and_inverted_as_they_say(
    tmp_path: Path, content: bytes, expected: list[int]
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    assert decode_pixels(bytes(path), None)[0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiff(32, 1, 3, struct.pack("<f", 0.5), 1), "floating-point numbers of unknown range"),
        (tiff(32, 1, 1, struct.pack("<I", 70_000), 1), "signed or 32-bit integers of unknown range"),
        (tiff(16, 1, 2, struct.pack("<h", -5), 1), "signed or 32-bit integers of unknown range"),
    ],
)
def test_numbers_without_a_known_range_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.tif'.*{message}"):
        decode_pixels(bytes(path), None)


@pytest.mark.parametrize(("text", "expected"), [("P2 2 1 4095 0 4095", [0, 255]), ("P2 2 1 7 7 0", [255, 0])])
def test_grey_of_any_maximum_is_scaled(tmp_path: Path, text: str, expected: list[int]) -> None:
    path = tmp_path / "a.pgm"
    path.write_text(text)
    assert decode_pixels(bytes(path), None)[0, 0].tolist() == expected


def test_cmyk_is_what_its_inks_leave_of_white_also_where_adobe_inverts_it(tmp_path: Path) -> None:
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 255, 0, 0]]], dtype=np.uint8)
    inks = inks.repeat(16, axis=0).repeat(16, axis=1)  # blocks, which JPEG keeps
    expected = [[255, 255, 255], [0, 255, 255], [0, 0, 0], [255, 0, 255]]
    for name in ("a.tif", "a.jpg"):  # Pillow writes JPEG as Adobe does, inverted
        path = saved(tmp_path / name, Image.fromarray(inks, "CMYK"), quality=100)
        result = decode_pixels(path, None)[:, 8, 8::16].T.astype(int)
        assert np.abs(result - expected).max() <= 4
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()


def test_the_default_image_of_an_animated_png_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in (10, 200, 90)]
    for first in (False, True):
        path = saved(
            tmp_path / "a.png", frames[0], save_all=True, append_images=frames[1:], default_image=first
        )
        assert (decode_pixels(path, None)[0] == 10).all()


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif", "a.avif"])
def test_of_several_images_in_a_file_the_first_counts(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (16, 16), (value, value, value)) for value in (10, 200)]
    exact = {"lossless": True} if name == "a.webp" else {"quality": 100} if name == "a.avif" else {}
    path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **exact)
    with Image.open(tmp_path / name) as image:
        assert image.n_frames == 2
    assert (np.abs(decode_pixels(path, None).astype(int) - 10) <= 1).all()


def test_colour_profiles_are_not_applied(tmp_path: Path) -> None:
    from PIL import ImageCms

    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    path = saved(tmp_path / "a.png", Image.fromarray(COLOURS), icc_profile=lab)
    assert np.array_equal(decode_pixels(path, None), COLOURS.transpose(2, 0, 1))


def test_a_large_image_is_converted_in_pieces_like_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(np.dstack([COLOURS, ALPHA])))
    whole = decode_pixels(path, None)
    for strip in (1, 5, 14, 30):
        monkeypatch.setattr("lpstudy.data.colours.STRIP", strip)
        assert np.array_equal(decode_pixels(path, None), whole)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".pjpeg"])
def test_suffixes_of_jpeg(tmp_path: Path, suffix: str) -> None:
    assert suffix in SUFFIXES
    path = tmp_path / f"a{suffix}"
    Image.fromarray(COLOURS).save(path, "JPEG")
    assert decode_pixels(bytes(path), None).shape == (3, 10, 14)


def test_avif_is_read(tmp_path: Path) -> None:
    assert features.check("avif")
    assert ".avif" in SUFFIXES
    result = decode_pixels(
        saved(tmp_path / "a.avif", Image.fromarray(COLOURS), quality=100, subsampling="4:4:4"), None
    )
    assert np.abs(result.astype(int) - COLOURS.transpose(2, 0, 1)).mean() < 3
