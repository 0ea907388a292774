"""Official parts of a folder of images: val beside test, or no parts at all."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lpstudy.data import Arrays, Data, DataSpec, arrays_with_test_part, data_from_arrays, load

CPU = torch.device("cpu")


def spec(**keys: object) -> DataSpec:
    return DataSpec.model_validate({"kind": "image_folder"} | keys)


def copy_part(tree: Path, name: str) -> None:
    """A part like test with the same classes and other images."""
    shutil.copytree(tree / "test", tree / name)
    for path in (tree / name).glob("*/*.png"):
        Image.fromarray(255 - np.array(Image.open(path))).save(path)


def images_of(data: Data, part: str) -> list[bytes]:
    (batch,) = getattr(data, part).batches(batch_size=99, device=CPU)
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (data.mean, data.std))
    pixels = ((batch.images * std + mean) * 255).round().to(torch.uint8).numpy()
    return [image.tobytes() for image in pixels]


def files_of(tree: Path, part: str) -> list[bytes]:
    paths = sorted((tree / part).glob("*/*.png"))
    return [np.array(Image.open(path)).transpose(2, 0, 1).tobytes() for path in paths]


@pytest.mark.parametrize("name", ["val", "validation"])
@pytest.mark.parametrize("streaming", [False, True])
def test_val_beside_test_is_the_validation_part(tree: Path, name: str, streaming: bool) -> None:
    copy_part(tree, name)
    data = load(spec(streaming=streaming), root=tree)
    assert images_of(data, "validation") == files_of(tree, name)
    assert images_of(data, "train") == files_of(tree, "train")
    assert images_of(data, "test") == files_of(tree, "test")
    assert any("validation is the data set's own part, 12 images" in line for line in data.remarks)
    assert load(spec(streaming=streaming, validation_fraction=0.4), root=tree).fingerprint == data.fingerprint
    shutil.rmtree(tree / name)
    assert load(spec(streaming=streaming), root=tree).fingerprint != data.fingerprint


@pytest.mark.parametrize("streaming", [False, True])
def test_few_labels_leave_the_official_part_alone(tree: Path, streaming: bool) -> None:
    copy_part(tree, "val")
    data = load(spec(streaming=streaming, labels_per_class=3, unlabelled="rest"), root=tree)
    assert (data.train.labelled, len(data.train), len(data.validation)) == (9, 30, 12)
    assert data.validation.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_class_that_val_lacks_is_named(tree: Path) -> None:
    copy_part(tree, "val")
    shutil.rmtree(tree / "val" / "zebra")
    with pytest.raises(ValueError, match=r"class 'zebra' of '.*' is in train but not in val$"):
        load(spec(), root=tree)
    (tree / "val" / "zebra").mkdir()
    (tree / "val" / "yak").mkdir()
    with pytest.raises(ValueError, match=r"class 'yak' of '.*' is in val but not in train$"):
        load(spec(), root=tree)


@pytest.mark.parametrize("below", ["train", "."])
@pytest.mark.parametrize("streaming", [False, True])
def test_without_a_test_part_a_third_of_every_class_is_cut(tree: Path, below: str, streaming: bool) -> None:
    shutil.rmtree(tree / "test")
    root = tree if below == "." else tree / "train"
    data = load(spec(streaming=streaming), root=root)
    images = np.stack([np.frombuffer(each, np.uint8) for each in files_of(tree, "train")])
    rule = arrays_with_test_part(images.reshape(30, 3, 12, 12), np.repeat(range(3), 10), data.class_names)
    assert data.class_names == ("apple", "n0001", "zebra")
    assert images_of(data, "test") == [image.tobytes() for image in rule.test_images]
    assert any("there is no test part: a third of every class" in line for line in data.remarks)


def test_system_files_beside_class_folders_are_ignored(tree: Path) -> None:
    root = tree / "train"
    for name in ("__MACOSX", ".thumbnails"):
        (root / name).mkdir()
    for name in ("Thumbs.db", ".DS_Store", "README.md"):
        (root / name).write_text("x")
    assert load(spec(), root=root).class_names == ("apple", "n0001", "zebra")


def test_suffixes_of_either_case_are_images(tree: Path) -> None:
    for path in tree.glob("*/apple/*.png"):
        path.rename(path.with_suffix(".PNG"))
    assert len(load(spec(), root=tree).test) == 12


def test_a_folder_with_test_alone_has_no_training_set(tree: Path) -> None:
    shutil.rmtree(tree / "train")
    with pytest.raises(FileNotFoundError, match=r"expected there train/<class>/\* .*, or <class>/\* alone$"):
        load(spec(), root=tree)


def test_arrays_may_have_a_validation_part() -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 1, 6, 6), dtype=np.uint8)
    labels = np.arange(40) % 2
    arrays = Arrays(images[:20], labels[:20], images[20:30], labels[20:30], ("even", "odd"))
    data = data_from_arrays(arrays.with_validation_part(images[30:], labels[30:]), spec())
    assert images_of(data, "validation") == [image.tobytes() for image in images[30:]]
    assert images_of(data, "train") == [image.tobytes() for image in images[:20]]
    assert data.fingerprint != data_from_arrays(arrays, spec()).fingerprint
