"""Official corruption files and other data sets as shifted test sets, from files that the test makes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lpstudy.data import Data, DataSpec, load
from lpstudy.data.shifts import ShiftName
from lpstudy.space import ShiftData, ShiftSettings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data() -> Data:
    return load(DataSpec(kind="digits"))


def pixels_of(data: Data) -> np.ndarray:
    """The test images, shape (n, channels, height, width)."""
    (images,) = data.test.pixels.read([torch.arange(len(data.test))])
    return images.numpy()


@pytest.fixture
def folder(data: Data, tmp_path: Path) -> Path:
    """Files of two corruptions: block k of `fog` has k added to each pixel, `snow` has mirrored images."""
    images = pixels_of(data).transpose(0, 2, 3, 1)
    np.save(tmp_path / "fog.npy", np.concatenate([images // 2 + k for k in range(1, 6)]))
    np.save(tmp_path / "snow.npy", np.concatenate([images[:, :, ::-1]] * 5))
    np.save(tmp_path / "labels.npy", np.tile(data.test.labels.numpy(), 5))
    return tmp_path


def test_each_file_gives_its_blocks_in_the_order_of_the_test_set(data: Data, folder: Path) -> None:
    shifted = ShiftSettings(cifar_c=str(folder), severities=(2, 5)).apply(data)
    assert [*shifted.shifts] == ["cifar_c/fog_2", "cifar_c/fog_5", "cifar_c/snow_2", "cifar_c/snow_5"]
    for severity in (2, 5):
        split = shifted.to(CPU).shifts[f"cifar_c/fog_{severity}"]
        assert np.array_equal(pixels_of(replace(data, test=split)), pixels_of(data) // 2 + severity)
        (some,) = split.pixels.read([torch.tensor([7, 3])])
        assert np.array_equal(some.numpy(), pixels_of(data)[[7, 3]] // 2 + severity)
        assert torch.equal(split.labels, data.test.labels)
        (batch,) = split.batches(batch_size=len(split), device=CPU)
        mean, std = (torch.tensor(value)[:, None, None] for value in (data.mean, data.std))
        expected = (torch.from_numpy(pixels_of(data) // 2 + severity) / 255 - mean) / std
        torch.testing.assert_close(batch.images, expected)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("labels.npy", lambda a: np.roll(a, 1), "images and order must be those of the test set"),
        ("labels.npy", lambda a: a[:-1], "must be integers of shape (2995,)"),
        ("labels.npy", lambda a: a.astype(float), "must be integers"),
        ("labels.npy", lambda a: np.array([{}] * len(a)), "Python objects"),
        ("fog.npy", lambda a: a[:-1], "fog.npy must be uint8 of shape (2995, 8, 8, 1)"),
        ("fog.npy", lambda a: a.transpose(0, 3, 1, 2), "fog.npy must be uint8 of shape"),
        ("fog.npy", lambda a: a.astype(np.float32), "but is float32"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_one_line(data, folder, name, change, says) -> None:
    changed = change(np.load(folder / name))
    np.save(folder / name, changed, allow_pickle=True)
    refuse(data, ShiftSettings(cifar_c=str(folder)), says)


def refuse(data: Data, settings: ShiftSettings, says: str) -> None:
    with pytest.raises(ValueError, match=r"^shift\.") as refused:
        settings.apply(data)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_without_its_files_is_refused(data: Data, folder: Path, tmp_path: Path) -> None:
    refuse(data, ShiftSettings(cifar_c=str(tmp_path / "none")), "is no folder")
    (folder / "fog.npy").write_bytes(b"\x93NUMPY\x01\x00 nothing")
    refuse(data, ShiftSettings(cifar_c=str(folder)), "fog.npy: ")
    (folder / "labels.npy").unlink()
    refuse(data, ShiftSettings(cifar_c=str(folder)), "labels.npy: ")
    for path in folder.glob("*.npy"):
        path.unlink()
    refuse(data, ShiftSettings(cifar_c=str(folder)), "must have 1 to 100 .npy files")


def write_set(path: Path, data: Data, names: list[str], **more: np.ndarray) -> ShiftSettings:
    """An .npz file of the test images in reverse, labelled by these names, and the settings that read it."""
    images, labels = pixels_of(data)[::-1], data.test.labels.numpy()[::-1]
    places = [names.index(data.class_names[label]) for label in labels]
    arrays = {"train_images": images, "train_labels": places, "test_images": images, "test_labels": places}
    np.savez(path, **(arrays | {"class_names": np.array(names)} | more))
    return ShiftSettings(data=(ShiftData(name="photos", kind="npz", root=str(path)),))


def test_classes_of_another_data_set_are_matched_by_name(data: Data, tmp_path: Path) -> None:
    names = [*data.class_names[5:], *data.class_names[:5]]
    shifted = write_set(tmp_path / "a.npz", data, names).apply(data)
    assert [*shifted.shifts] == ["data/photos"]
    split = shifted.shifts["data/photos"]
    assert torch.equal(split.labels, data.test.labels.flip(0))
    assert np.array_equal(pixels_of(replace(data, test=split)), pixels_of(data)[::-1])
    assert split.preprocessing is data.test.preprocessing


def test_another_set_of_classes_or_another_size_is_refused(data: Data, tmp_path: Path) -> None:
    settings = write_set(tmp_path / "a.npz", data, [*data.class_names])
    renamed = replace(data, class_names=(*data.class_names[:-1], "ten"))
    refuse(renamed, settings, "it lacks ten and has also 9")
    wide = np.zeros((20, 9, 9), np.uint8)
    more = {"test_images": wide, "test_labels": np.arange(20) % 10, "train_images": wide}
    settings = write_set(
        tmp_path / "b.npz", data, [*data.class_names], **more, train_labels=np.arange(20) % 10
    )
    refuse(data, settings, "its images are 1 x 9 x 9 but the study's are 1 x 8 x 8")
    missing = ShiftData(name="gone", kind="npz", root=str(tmp_path / "gone.npz"))
    refuse(data, ShiftSettings(data=(missing,)), "shift.data: gone: ")


def test_names_say_what_they_are() -> None:
    assert ShiftName.of("noise_3") == ShiftName("C-lite", "noise", 3)
    assert ShiftName.of("cifar_c/gaussian_noise_5") == ShiftName("CIFAR-C", "cifar_c/gaussian_noise", 5)
    assert ShiftName.of("data/photos-2") == ShiftName("data/photos-2", "data/photos-2", None)
    assert ShiftName.of("noise") is None
