""".npz files: the layouts that are read, and what is refused in one line."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lpstudy.data import Data, DataSpec, load

GREY = np.random.default_rng(0).integers(0, 256, (12, 10, 8), dtype=np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (12, 10, 8, 3), dtype=np.uint8)
LABELS = np.arange(12) % 2


def written(root: Path, arrays: Mapping[str, Any], **keys: object) -> Data:
    root.mkdir(exist_ok=True)
    np.savez(root / "set.npz", **arrays)
    return load(DataSpec.model_validate({"kind": "npz", "root": root} | keys))


def images_of_test(data: Data) -> torch.Tensor:
    (batch,) = data.test.batches(batch_size=99, device=torch.device("cpu"))
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (data.mean, data.std))
    return ((batch.images * std + mean) * 255).round().to(torch.uint8)


def split(images: np.ndarray, train: str = "train_images", test: str = "test_images") -> dict[str, Any]:
    labels = {train: train.replace("images", "labels").replace("x_", "y_")}
    labels[test] = test.replace("images", "labels").replace("x_", "y_")
    return {train: images[:8], labels[train]: LABELS[:8], test: images[8:], labels[test]: LABELS[8:]}


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (GREY[:, None], GREY[:, None]),
        (COLOURS, COLOURS.transpose(0, 3, 1, 2)),
        (np.ascontiguousarray(COLOURS.transpose(0, 3, 1, 2)), COLOURS.transpose(0, 3, 1, 2)),
    ],
)
def test_channels_may_be_first_last_or_missing(images: Any, expected: Any, tmp_path: Path) -> None:
    data = written(tmp_path, split(images))
    assert np.array_equal(images_of_test(data).numpy(), expected[8:])
    assert (data.input_shape, data.class_names) == (expected.shape[1:], ("0", "1"))


def test_kerass_names_and_labels_as_a_column_are_read(tmp_path: Path) -> None:
    arrays = split(COLOURS, "x_train", "x_test")
    arrays |= {"y_train": arrays["y_train"][:, None], "y_test": arrays["y_test"].astype(np.uint8)}
    assert len(written(tmp_path, arrays).test) == 4


def test_medmnists_validation_images_are_the_validation_part(tmp_path: Path) -> None:
    arrays = split(GREY) | {"val_images": GREY[:3], "val_labels": LABELS[:3]}
    data = written(tmp_path, arrays, validation_fraction=0.4)
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 3, 4)


def test_images_alone_give_up_a_third_for_the_test(tmp_path: Path) -> None:
    data = written(tmp_path, {"images": GREY, "labels": np.array(["b", "a"])[LABELS]})
    assert (len(data.test), data.class_names) == (4, ("a", "b"))
    assert any("there is no test part" in line for line in data.remarks)


def test_the_file_itself_may_be_named(tmp_path: Path) -> None:
    written(tmp_path, split(GREY) | {"class_names": np.array(["x", "y"])})
    data = load(DataSpec(kind="npz", root=tmp_path / "set.npz"))
    assert (data.class_names, data.name) == (("x", "y"), "set.npz")
    np.savez(tmp_path / "other.npz", images=GREY)
    with pytest.raises(ValueError, match=r"has 2 files, \[data\] root must name one: 'other.npz', 'set.npz'"):
        load(DataSpec(kind="npz", root=tmp_path))


class Trap:
    """An object whose unpickling writes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path("pwned").touch, ()


OBJECTS = np.array([Trap() for _ in range(12)], dtype=object)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": GREY}, r"has no train_images, train_labels, test_images and test_labels but 'x'"),
        ({"train_images": GREY}, r"has train_images but no train_labels"),
        ({"images": GREY / 255, "labels": LABELS}, r"images must be uint8 but is float64"),
        ({"images": np.asfortranarray(GREY), "labels": LABELS}, r"images is in Fortran's order"),
        ({"images": GREY[0], "labels": LABELS}, r"images must have shape .* but has \(10, 8\)"),
        ({"images": COLOURS[..., :2], "labels": LABELS}, r"with 1 or 3 channels .* but has \(12, 10, 8, 2\)"),
        ({"images": COLOURS[:, :3], "labels": LABELS}, r"whether channels are first or last is not clear"),
        ({"images": GREY[:0], "labels": LABELS[:0]}, r"n above 0, but has \(0, 10, 8\)"),
        (
            {"images": GREY, "labels": LABELS[:5]},
            r"labels must be .* shape \(12,\) but are int64 of shape \(5,\)",
        ),
        ({"images": GREY, "labels": LABELS / 2}, r"labels must be whole numbers or texts .* are float64"),
        ({"images": GREY, "labels": np.eye(12, dtype=int)}, r"labels must be .* of shape \(12, 12\)"),
        ({"images": GREY, "labels": LABELS - 1}, r"train: image 0 has no label \(-1\)"),
        (split(GREY) | {"test_images": GREY[8:, :5]}, r"test_images have shape \(1, 5, 8\), those of train"),
        (split(GREY) | {"test_labels": LABELS[8:] + 1}, r"test: label 2 of image 1 is not among those of"),
        (split(GREY) | {"class_names": np.array(["x"])}, r"label 1 of image 1 is outside of \[0, 1\)"),
        (split(GREY) | {"class_names": np.array(["x", "x"])}, r"class names must be distinct texts"),
        ({"images": GREY, "labels": OBJECTS}, r"labels holds Python objects, which are never unpickled"),
        ({"images": OBJECTS, "labels": LABELS}, r"images holds Python objects, which are never unpickled"),
        (split(GREY) | {"class_names": OBJECTS}, r"class_names holds Python objects"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_it(
    arrays: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"'set.npz'.*{message}") as error:
        written(tmp_path / "root", arrays)
    assert str(error.value).isprintable()
    assert not Path("pwned").exists()


def header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"shape": shape, "fortran_order": False, "descr": kind})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no array", "is damaged: images: "),
        (header((12, 10, 8)), "is damaged: it ends within images"),
        (header((2**40, 10, 8)), r"shape \(1099511627776,\)"),
        (header((-1, 10, 8)), r"images must have shape|shape \(-1,\)"),
    ],
)
def test_a_header_that_promises_too_much_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", content)
        buffer = io.BytesIO()
        np.save(buffer, LABELS)
        archive.writestr("labels.npy", buffer.getvalue())
    with pytest.raises(ValueError, match=message) as error:
        load(DataSpec(kind="npz", root=tmp_path))
    assert str(error.value).isprintable()


def test_labels_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", header((2**40, 1, 1)))
        archive.writestr("labels.npy", header((2**40,)))
    with pytest.raises(ValueError, match=r"labels of shape \(1099511627776,\) is too large"):
        load(DataSpec(kind="npz", root=tmp_path))


@pytest.mark.parametrize("end", [0, 10, -30])
def test_a_file_that_is_cut_off_is_one_line(end: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **split(GREY))
    (tmp_path / "set.npz").write_bytes((tmp_path / "set.npz").read_bytes()[:end])
    with pytest.raises(ValueError, match=r"'set.npz' is no .npz file, or a damaged one: ") as error:
        load(DataSpec(kind="npz", root=tmp_path))
    assert str(error.value).isprintable()
