"""Corruptions of C-lite, against NumPy, SciPy and Pillow, and their sameness."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from lpstudy.data import Data, DataSpec, load
from lpstudy.data.corruptions import CORRUPTIONS, SEVERITIES, STRENGTHS, CorruptedPixels, corrupt, hash_of
from lpstudy.data.pixels import ArrayPixels

CPU = torch.device("cpu")
# Of IMAGES in severities 1 to 5, 16 hex digits; another one changes the meaning of every earlier figure.
HASHES = {
    "noise": "6a0168044376e169",
    "blur": "a04e295404b7d266",
    "brightness": "b5ee21d421787364",
    "contrast": "1fe0ba2ca809fc10",
    "pixelate": "ca98d4c54523d7d0",
    "jpeg": "7aacfa7113350dff",
}


def smooth_images(count: int = 6, size: int = 32, channels: int = 3) -> torch.Tensor:
    """Images with edges and slopes, of mean grey."""
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(6 * (x + number * y) + channel) for number in range(count) for channel in range(channels)]
    return torch.from_numpy((110 + 60 * np.array(waves)).astype(np.uint8)).view(count, channels, size, size)


IMAGES = smooth_images()
SAMPLES = torch.arange(len(IMAGES))


@pytest.fixture
def data() -> Data:
    return load(DataSpec(kind="digits", labels_per_class=5))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_each_is_what_it_says(severity) -> None:
    exact = IMAGES.numpy().astype(np.float64)
    corrupted = {name: corrupt(IMAGES, SAMPLES, name, severity).numpy() for name in CORRUPTIONS}
    of = {name: STRENGTHS[name][severity - 1] for name in CORRUPTIONS}
    brighter = np.rint(exact + 255 * of["brightness"]).clip(0, 255)
    assert np.array_equal(corrupted["brightness"], brighter)
    means = exact.mean((2, 3), keepdims=True)
    assert np.array_equal(corrupted["contrast"], np.rint(means + of["contrast"] * (exact - means)))
    blurred = gaussian_filter(
        exact, of["blur"], axes=(2, 3), mode="reflect", radius=int(np.ceil(3 * of["blur"]))
    )
    assert np.abs(corrupted["blur"] - blurred).max() <= 0.5 + 1e-9
    for image, changed in zip(IMAGES.numpy(), corrupted["jpeg"], strict=True):
        file = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=of["jpeg"], subsampling="4:2:0")
        assert np.array_equal(np.asarray(Image.open(file)).transpose(2, 0, 1), changed)


def test_pixelate_averages_boxes() -> None:
    image = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4) * 10
    halved = corrupt(image, torch.arange(1), "pixelate", 3)
    assert halved[0, 0].tolist() == [
        [25, 25, 45, 45],
        [25, 25, 45, 45],
        [105, 105, 125, 125],
        [105, 105, 125, 125],
    ]
    # 32 pixels in 19 boxes: each pixel 19 times, averaged over 32.
    fine = IMAGES.numpy().astype(np.float64).repeat(19, 2).repeat(19, 3)
    averages = fine.reshape(len(fine), 3, 19, 32, 19, 32).mean((3, 5))
    nearest = ((np.arange(32) + 0.5) * 19 / 32).astype(int)
    expected = averages[:, :, nearest][..., nearest]
    assert np.abs(corrupt(IMAGES, SAMPLES, "pixelate", 2).numpy() - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_is_normal(severity) -> None:
    grey = torch.full((20, 3, 32, 32), 128, dtype=torch.uint8)
    noise = (corrupt(grey, torch.arange(20), "noise", severity).numpy() - 128.0) / 255
    shares = [(noise <= limit * STRENGTHS["noise"][severity - 1]).mean() for limit in (-1, 0, 1)]
    # Half a grey level of rounding moves a share by up to 0.02 where the noise is weak.
    assert shares == pytest.approx([0.159, 0.5, 0.841], abs=0.03)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_higher_severity_changes_more(name) -> None:
    changes = [
        (corrupt(IMAGES, SAMPLES, name, one).double() - IMAGES.double()).abs().mean() for one in SEVERITIES
    ]
    assert changes == sorted(changes)
    assert changes[0] > 0


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_the_same_in_any_batch_and_as_recorded(name) -> None:
    source = ArrayPixels(IMAGES, SAMPLES)
    sources = [CorruptedPixels(source, name, severity) for severity in SEVERITIES]
    (whole,) = sources[2].read([SAMPLES])
    parts = torch.cat([*sources[2].read([SAMPLES[4:], SAMPLES[:4]])])
    assert torch.equal(torch.cat([parts[2:], parts[:2]]), whole)
    assert hash_of(sources, len(IMAGES))[:16] == HASHES[name]


def test_noise_is_drawn_for_each_image() -> None:
    same = IMAGES[:1].expand(2, -1, -1, -1)
    first, second = corrupt(same, torch.tensor([0, 1]), "noise", 1)
    assert not torch.equal(first, second)


def test_the_test_set_has_a_copy_for_each_pair(data: Data) -> None:
    shifted = data.with_shifts([("noise", 2), ("jpeg", 5)])
    assert [*shifted.shifts] == ["noise_2", "jpeg_5"]
    (plain,) = data.test.batches(batch_size=len(data.test), device=CPU)
    for name, split in shifted.to(CPU).shifts.items():
        (batch,) = split.batches(batch_size=len(split), device=CPU)
        assert torch.equal(batch.labels, plain.labels)
        assert not torch.equal(batch.images, plain.images), name
    assert data.shifts == {}


def test_jpeg_of_other_channels_is_refused(data: Data) -> None:
    odd = replace(data, input_shape=(2, 8, 8))
    with pytest.raises(ValueError, match="jpeg takes images of 1 or 3 channels but they have 2"):
        odd.with_shifts([("jpeg", 1)])
    odd.with_shifts([("noise", 1)])
