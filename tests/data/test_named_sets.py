"""The named data sets beyond what all kinds have in common: damaged files, and the digits of scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from lpstudy.data import DataSpec, load
from lpstudy.data.digits import read_digits


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that nobody runs: a download fails as it does without a network."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def idx(values: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, values.ndim])
        + b"".join(n.to_bytes(4, "big") for n in values.shape)
        + values.tobytes()
    )


def mnist_files(root: Path) -> Path:
    """MNIST's files with two images each; gives the folder."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(np.zeros((4, 28, 28), dtype=np.uint8)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.array([0, 0, 1, 1], dtype=np.uint8)))
    return folder


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte", idx(np.zeros((4, 28, 28), dtype=np.uint8))[:-5], "are damaged"),
        ("train-images-idx3-ubyte", b"", "are damaged"),
        ("train-images-idx3-ubyte", b"<html>not found</html>", "are damaged"),
        (
            "train-images-idx3-ubyte",
            idx(np.zeros((3, 28, 28), dtype=np.uint8)),
            "3 images but 4 labels in train",
        ),
        ("t10k-labels-idx1-ubyte", idx(np.array([0, 0, 1, 10], dtype=np.uint8)), "labels 0 to 9"),
        ("t10k-labels-idx1-ubyte", idx(np.zeros((2, 2), dtype=np.uint8)), "are damaged"),
    ],
)
def test_damaged_mnist_is_one_line(tmp_path, name, content, message):
    (mnist_files(tmp_path) / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(DataSpec(kind="mnist", root=tmp_path))
    assert "\n" not in str(caught.value)
    assert repr(str(tmp_path)) in str(caught.value)


@pytest.mark.usefixtures("no_network")
def test_a_missing_file_of_mnist_is_named(tmp_path):
    (mnist_files(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected there MNIST/raw/t10k-labels-idx1-ubyte$"):
        load(DataSpec(kind="mnist", root=tmp_path))


@pytest.mark.usefixtures("no_network")
def test_cifar_that_fails_its_checksum_is_one_line_and_never_unpickled(tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    # As a pickle this would write a file.
    canary = tmp_path / "canary"
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes(f"cbuiltins\nopen\n(S'{canary}'\nS'w'\ntR.".encode())
    with pytest.raises(ValueError, match=r"the files of cifar100 in '.*' are damaged") as caught:
        load(DataSpec(kind="cifar100", root=tmp_path))
    assert "\n" not in str(caught.value)
    assert not canary.exists()


@pytest.mark.usefixtures("no_network")
def test_a_root_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "root").write_text("")
    with pytest.raises(FileNotFoundError, match=r"cifar10 is not in '.*root' and could not be downloaded"):
        load(DataSpec(kind="cifar10", root=tmp_path / "root"))


def test_digits_are_scikit_learns():
    arrays, origin = read_digits(), load_digits()
    images = np.concatenate([arrays.train_images, arrays.test_images])[:, 0]
    labels = np.concatenate([arrays.train_labels, arrays.test_labels])
    loaded = [
        (np.rint(image / 255 * 16).astype(int).tolist(), label)
        for image, label in zip(images, labels, strict=True)
    ]
    expected = [
        (image.astype(int).tolist(), label) for image, label in zip(origin.images, origin.target, strict=True)
    ]
    assert sorted(loaded) == sorted(expected)
    assert images.max() == 255


def test_a_third_of_every_digit_is_the_test_set():
    arrays, origin = read_digits(), load_digits()
    assert np.bincount(arrays.test_labels).tolist() == np.rint(np.bincount(origin.target) / 3).tolist()
    assert len(arrays.test_labels) == 599


def test_an_unusable_cache_is_not_taken_for_damaged_files(tmp_path, monkeypatch):
    mnist_files(tmp_path)
    (tmp_path / "cache").write_text("not a folder")
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="cannot use the cache"):
        load(DataSpec(kind="mnist", root=tmp_path))


def test_digits_need_no_root(tmp_path):
    data = load(DataSpec(kind="digits"), root=tmp_path / "nowhere")
    assert (len(data.train), len(data.validation), len(data.test)) == (959, 239, 599)
