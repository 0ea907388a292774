"""Remarks on a data set: images in two parts, transparency, more validation than training."""

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lpstudy.data import Data, DataSpec, load, part_remarks

CPU = torch.device("cpu")
IN_MEMORY = DataSpec(kind="image_folder")
STREAMED = DataSpec(kind="image_folder", streaming=True)


def remarks_on(data: Data) -> list[str]:
    return [*data.remarks, *part_remarks(data.train, data.validation, data.test)]


@pytest.fixture(params=[IN_MEMORY, STREAMED], ids=["in memory", "streamed"])
def spec(request: pytest.FixtureRequest) -> DataSpec:
    return request.param


def test_nothing_is_said_of_good_data(tree: Path, spec: DataSpec) -> None:
    assert remarks_on(load(spec, root=tree)) == []


def test_images_of_training_in_the_test_set_are_counted(tree: Path, spec: DataSpec) -> None:
    shutil.copy(tree / "train/apple/003.png", tree / "test/apple/new.png")
    shutil.copy(tree / "train/zebra/021.png", tree / "test/apple/mislabelled.png")
    assert remarks_on(load(spec, root=tree)) == [
        "2 of 14 test images are also among the training or validation images: accuracy on them says nothing"
        " of new images"
    ]


def test_a_test_set_that_is_a_link_to_training_is_counted_whole(tree: Path, spec: DataSpec) -> None:
    shutil.rmtree(tree / "test")
    (tree / "test").symlink_to("train")
    (line,) = remarks_on(load(spec, root=tree))
    assert line.startswith("30 of 30 test images are also among the training or validation images")


def test_images_of_training_in_validation_are_counted(tree: Path, spec: DataSpec) -> None:
    for path in sorted((tree / "train/apple").iterdir())[1:]:
        shutil.copy(tree / "train/apple/000.png", path)
    (line,) = remarks_on(load(spec, root=tree))
    assert line.startswith("2 of 6 validation images are also among the training images")


def test_equal_pixels_in_other_files_are_found_in_memory(tree: Path) -> None:
    Image.open(tree / "train/apple/003.png").save(tree / "test/apple/other.bmp")
    (line,) = remarks_on(load(IN_MEMORY, root=tree))
    assert line.startswith("1 of 13 test images")


def test_files_of_one_size_with_other_content_are_not_the_same(tree: Path) -> None:
    for part in ("train/apple/000.png", "test/apple/000.png"):
        Image.open(tree / part).save((tree / part).with_suffix(".bmp"))
        (tree / part).unlink()
    assert remarks_on(load(STREAMED, root=tree)) == []


def test_transparent_images_are_counted_also_when_they_come_from_the_cache(
    tree: Path, spec: DataSpec
) -> None:
    pixels = np.full((12, 12, 4), 100, dtype=np.uint8)
    for number in range(10):
        pixels[0, 0] = number
        Image.fromarray(pixels).save(tree / f"train/apple/{number:03}.png")
    for _ in range(2):  # read, and found
        line = load(spec, root=tree).remarks[0]
        looked_at, transparent = (42, 10) if spec is IN_MEMORY else (24, 8)
        assert line == (
            f"{transparent} of {looked_at} images have transparent pixels: they are shown on white"
        )


def test_more_labels_in_validation_than_in_training_are_said(tree: Path) -> None:
    data = load(IN_MEMORY.model_copy(update={"labels_per_class": 2, "validation_fraction": 0.5}), root=tree)
    assert remarks_on(data) == [
        "validation has more labels (15) than training (6): labels_per_class limits training alone"
    ]


@pytest.mark.parametrize("kind", ["empty", "empty classes", "unlabelled", "other folders"])
def test_a_test_folder_without_labelled_images_hides_no_val(tree: Path, spec: DataSpec, kind: str) -> None:
    (tree / "test").rename(tree / "val")
    (tree / "test").mkdir()
    match kind:
        case "empty classes":
            for name in ("apple", "n0001", "zebra"):
                (tree / "test" / name).mkdir()
        case "unlabelled":
            shutil.copy(tree / "val/apple/000.png", tree / "test/000.png")
        case "other folders":
            (tree / "test/unknown").mkdir()
            shutil.copy(tree / "val/apple/000.png", tree / "test/unknown/000.png")
    data = load(spec, root=tree)
    assert len(data.test) == 12
    assert data.remarks == ("test has no images in class folders: the test set is val",)


def test_an_empty_test_folder_without_val_is_an_error(tree: Path) -> None:
    shutil.rmtree(tree / "test")
    (tree / "test").mkdir()
    with pytest.raises(ValueError, match=r"class 'apple' of '.*' is in train but not in test"):
        load(IN_MEMORY, root=tree)


SYSTEM_FILES = ("Thumbs.db", "thumbs.db", "desktop.ini", "Icon\r", "a.png:Zone.Identifier", ".DS_Store")
LEFT_FOLDERS = ("@eaDir", "__MACOSX", "$RECYCLE.BIN", "#recycle", "lost+found")


def test_what_systems_leave_in_folders_is_passed_over(tree: Path, spec: DataSpec) -> None:
    before = load(spec, root=tree)
    for place in (tree, tree / "train", tree / "test", tree / "train/apple", tree / "test/zebra"):
        for name in SYSTEM_FILES:
            (place / name).write_bytes(b"\0")
        for name in LEFT_FOLDERS:
            (place / name).mkdir()
            (place / name / "inside.png").write_bytes(b"no image")
    after = load(spec, root=tree)
    assert after.fingerprint == before.fingerprint
    assert after.class_names == ("apple", "n0001", "zebra")


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_names_of_a_class_are_equal_whatever_their_unicode_form(
    tree: Path, spec: DataSpec, forms: tuple[str, str]
) -> None:
    name = "crème brûlée"
    (tree / "train/apple").rename(tree / "train" / unicodedata.normalize("NFC", name))
    (tree / "test/apple").rename(tree / "test" / unicodedata.normalize("NFC", name))
    plain = load(spec, root=tree)
    for part, form in zip(("train", "test"), forms, strict=True):
        (tree / part / unicodedata.normalize("NFC", name)).rename(
            tree / part / unicodedata.normalize(form, name)
        )
    data = load(spec, root=tree)
    assert data.class_names == plain.class_names == (unicodedata.normalize("NFC", name), "n0001", "zebra")
    assert data.fingerprint == plain.fingerprint
    assert data.test.labels.tolist() == plain.test.labels.tolist()


def test_two_folders_of_one_name_are_refused(tree: Path) -> None:
    for part in ("train", "test"):
        for form in ("NFC", "NFD"):
            shutil.copytree(tree / part / "apple", tree / part / unicodedata.normalize(form, "é"))
    with pytest.raises(ValueError, match=r"have the same name in Unicode") as error:
        load(IN_MEMORY, root=tree)
    assert "\n" not in str(error.value)


def test_a_relative_root_that_is_not_there_is_shown_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        load(DataSpec(kind="image_folder", root=Path("data/cats")))
    assert repr(os.path.join(os.getcwd(), "data/cats")) in str(error.value)
    assert str(error.value).endswith("; 'data/cats' is relative to the working directory")


def test_what_an_earlier_rule_decoded_is_not_taken_from_the_cache(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    fingerprints = []
    for number in (1, 2):
        for module in ("array_cache", "pixel_statistics", "construction"):
            monkeypatch.setattr(f"lpstudy.data.{module}.FORMAT", number)
        fingerprints.append((load(IN_MEMORY, root=tree).fingerprint, load(STREAMED, root=tree).fingerprint))
        for folder in ("sources", "measured"):
            assert len(list((tmp_path / "cache" / folder).iterdir())) == number
    assert fingerprints[0][0] == fingerprints[1][0]  # equal pixels, decoded again
    assert fingerprints[0][1] != fingerprints[1][1]  # of a stream nobody can tell
