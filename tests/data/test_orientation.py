"""An image is turned as its EXIF says, and by nothing that is damaged."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pngs import COLOURS, chunk, saved

from lpstudy.data.images import decode_pixels, size_of
from lpstudy.data.orientation import orientation_of

# Row by row: where the pixel (row, column) of the upright image lies in the stored one.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "a.avif", "a.jpg"])
def test_an_image_is_turned_as_its_exif_says(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image, plain = Image.fromarray(COLOURS), tmp_path / f"plain{name[1:]}"
    exact = {"lossless": True} if name == "a.webp" else {"quality": 95}
    saved(plain, image, **exact)
    path = saved(tmp_path / name, image, exif=exif, **exact)
    stored_pixels = decode_pixels(bytes(plain), None).transpose(1, 2, 0)
    upright = np.ascontiguousarray(TURNS[orientation](stored_pixels))
    assert np.array_equal(decode_pixels(path, None).transpose(1, 2, 0), upright)
    assert size_of(path) == upright.shape[:2]


def test_exif_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    Image.fromarray(COLOURS).save(path)
    behind = path.read_bytes()[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + chunk(b"IEND", b"")
    path.write_bytes(behind)
    assert size_of(bytes(path)) == (14, 10)
    assert decode_pixels(bytes(path), None).shape == (3, 14, 10)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"not exif",
        b"II*\0\x08\0\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0",  # orientation 9
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\0\0\x06",  # a long, not a short
        b"MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03\0\0\0\x01\0",
    ],
)
def test_damaged_exif_turns_nothing(exif: bytes) -> None:
    assert orientation_of(exif) == 1


def test_a_photograph_with_damaged_exif_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(COLOURS), exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xffgarbage")
    assert decode_pixels(path, None).shape == (3, 10, 14)
