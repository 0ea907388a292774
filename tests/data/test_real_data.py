"""The real data sets against their published figures."""

import numpy as np
import pytest
import torch
from PIL import Image

from lpstudy.data import DataSpec, Order, load

CPU = torch.device("cpu")
pytestmark = pytest.mark.realdata


def test_mnist_is_mnist(real_data):
    data = load(DataSpec(kind="mnist"), root=real_data)
    assert (len(data.train) + len(data.validation), len(data.test)) == (60_000, 10_000)
    # Mean and deviation of the 60,000 that everyone normalises by; test labels start 7 2 1 0 4.
    assert data.mean[0] == pytest.approx(0.1307, abs=2e-3)
    assert data.std[0] == pytest.approx(0.3081, abs=2e-3)
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    # Digits of each class in the test set, as LeCun's page lists them.
    assert np.bincount(data.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_hundred_labels_of_each_digit(real_data):
    data = load(DataSpec(kind="mnist", labels_per_class=100), root=real_data)
    assert np.bincount(data.train.labels).tolist() == [100] * 10
    assert len(data.validation) == pytest.approx(12_000, abs=10)


def test_cifar10_as_a_folder_of_images(real_data):
    spec = DataSpec(kind="image_folder", image_size=32, pad=4, flip=True, streaming=True)
    data = load(spec, root=real_data / "cifar10")
    assert (len(data.train), len(data.validation), len(data.test)) == (40_000, 10_000, 10_000)
    assert data.class_names == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    # The means and deviations that everyone normalises by; here of 1,024 images.
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.02)
    assert data.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=0.02)
    batch = next(data.test.batches(batch_size=2, device=CPU))
    first = sorted((real_data / "cifar10" / "test" / "airplane").iterdir())[0]
    expected = np.asarray(Image.open(first).convert("RGB"), dtype=np.float64) / 255
    expected = (expected - data.mean) / data.std
    np.testing.assert_allclose(batch.images[0].permute(1, 2, 0), expected, atol=1e-5)


def test_tiny_imagenet_streams(real_data):
    spec = DataSpec(kind="imagenet", image_size=64, pad=4, flip=True)
    data = load(spec, root=real_data / "tiny_imagenet25")
    assert (data.classes, data.input_shape) == (25, (3, 64, 64))
    assert (len(data.train), len(data.validation), len(data.test)) == (10_000, 2_500, 1_250)
    assert all(name.startswith("n") for name in data.class_names)
    batch = next(data.train.epoch(Order(0, 1, 64), device=CPU))
    assert batch.images.shape == (64, 3, 64, 64)
    assert batch.images.mean().abs() < 0.5
    assert 0.8 < batch.images.std() < 1.5
