"""Parquet files: what is read, and what is refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from image_forms import hub_rows, hub_schema, png, write_parquet, write_table

from lpstudy.data import Data, DataSpec, load

CPU = torch.device("cpu")
NAMES = ("cat", "dog")
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)
LABELS = np.arange(12) % 2
ENCODED = [png(image) for image in IMAGES]


def loaded(root: Path, **keys: object) -> Data:
    return load(DataSpec.model_validate({"kind": "parquet", "root": root} | keys))


def written(root: Path, **columns: Any) -> Data:
    write_table(root / "train.parquet", columns)
    return loaded(root)


@pytest.mark.parametrize("image", ["image", "img"])
@pytest.mark.parametrize("label", ["label", "labels", "fine_label"])
def test_the_usual_columns_are_read_among_others(image: str, label: str, tmp_path: Path) -> None:
    data = written(tmp_path, coarse_label=[0] * 12, **{image: ENCODED, label: LABELS})
    assert data.class_names == ("0", "1")
    assert len(data.test) == 4  # a third of every class


def test_columns_of_other_names_are_named_in_the_study_file(tmp_path: Path) -> None:
    write_table(tmp_path / "train.parquet", {"photo": ENCODED, "animal": LABELS})
    with pytest.raises(ValueError, match=r"has no column 'image' or 'img' but 'photo', 'animal': name it by"):
        loaded(tmp_path)
    with pytest.raises(ValueError, match=r"has no column 'label' or .*: name it by label_column$"):
        loaded(tmp_path, image_column="photo")
    assert loaded(tmp_path, image_column="photo", label_column="animal").classes == 2


@pytest.mark.parametrize(
    "labels",
    [
        np.array(NAMES)[LABELS].tolist(),
        pa.array(np.array(NAMES)[LABELS].tolist()).dictionary_encode(),
        pa.array(np.array(NAMES)[LABELS].tolist(), pa.large_string()),
    ],
)
def test_texts_are_the_names_of_the_classes(labels: Any, tmp_path: Path) -> None:
    assert written(tmp_path, image=ENCODED, label=labels).class_names == NAMES


def test_numbers_without_names_are_classes_in_their_order(tmp_path: Path) -> None:
    assert written(tmp_path, image=ENCODED, label=[2, 10] * 6).class_names == ("2", "10")


def test_classes_without_images_are_left_out_and_counted(tmp_path: Path) -> None:
    names = ("ant", "cat", "bee", "dog")
    write_table(tmp_path / "train.parquet", hub_rows(IMAGES, 2 * LABELS + 1), hub_schema(names))
    data = loaded(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert "2 of 4 classes have no images and are left out" in data.remarks


def test_a_test_part_without_labels_is_left_out(tmp_path: Path) -> None:
    parts = {
        "train": (IMAGES, LABELS),
        "validation": (IMAGES[:4], LABELS[:4]),
        "test": (IMAGES, 0 * LABELS - 1),
    }
    write_parquet(tmp_path, parts, NAMES)
    data = loaded(tmp_path)
    assert (len(data.train) + len(data.validation), len(data.test)) == (12, 4)
    assert "test has no labels and is left out" in data.remarks
    assert "there is no test part: the test set is validation" in data.remarks


PLACES = {
    "files": ["train-0.parquet", "test-0.parquet"],
    "below data": ["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"],
    "folders": ["train/0000.parquet", "test/0000.parquet"],
    "words within names": ["cats_train_v2.parquet", "cats_test_v2.parquet"],
}


@pytest.mark.parametrize("case", PLACES)
def test_the_part_is_in_the_name_of_a_file_or_its_folder(case: str, tmp_path: Path) -> None:
    for name, rows in zip(PLACES[case], (slice(8), slice(8, 12)), strict=True):
        write_table(tmp_path / name, hub_rows(IMAGES[rows], LABELS[rows]), hub_schema(NAMES))
    (tmp_path / "README.md").write_text("not data")
    assert (len(loaded(tmp_path).test), loaded(tmp_path).name) == (4, tmp_path.name)
    suffix = "**/*.parquet" if "/" in PLACES[case][0] else "*.parquet"
    assert len(loaded(tmp_path / suffix).test) == 4


def no_parquet(root: Path) -> None:
    (root / "train.parquet").write_bytes(b"PAR1 and nothing else")


def truncated(root: Path) -> None:
    write_table(root / "train.parquet", {"image": ENCODED, "label": LABELS})
    content = (root / "train.parquet").read_bytes()
    (root / "train.parquet").write_bytes(content[: len(content) // 2])


def damaged(root: Path) -> None:
    write_table(root / "train.parquet", {"image": ENCODED, "label": LABELS})
    content = bytearray((root / "train.parquet").read_bytes())
    content[4:200] = bytes(196)
    (root / "train.parquet").write_bytes(bytes(content))


def table(**columns: Any) -> Callable[[Path], None]:
    return lambda root: write_table(root / "train.parquet", columns)


def paths_alone(root: Path) -> None:
    rows = hub_rows(IMAGES, LABELS)
    rows["image"][3] = {"bytes": None, "path": "/etc/passwd"}
    write_table(root / "train.parquet", rows, hub_schema(NAMES))


def label_beyond_the_names(root: Path) -> None:
    write_table(root / "train.parquet", hub_rows(IMAGES, LABELS * 2), hub_schema(NAMES))


def unknown_class_in_test(root: Path) -> None:
    table(image=ENCODED, label=LABELS)(root)
    write_table(root / "test.parquet", {"image": ENCODED, "label": LABELS + 1})


def no_part_in_one_name(root: Path) -> None:
    for name in ("train.parquet", "more.parquet"):
        write_table(root / name, {"image": ENCODED, "label": LABELS})


def no_training_part(root: Path) -> None:
    write_table(root / "test.parquet", {"image": ENCODED, "label": LABELS})


def a_folder_of_that_name(root: Path) -> None:
    (root / "train.parquet").mkdir()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (no_parquet, r"'train.parquet' is no parquet file, or a damaged one: "),
        (truncated, r"'train.parquet' is no parquet file, or a damaged one: "),
        (damaged, r"'train.parquet' is damaged: "),
        (table(image=["a.png"] * 12, label=LABELS), r"'image' has type string, images are binary"),
        (table(image=IMAGES.reshape(12, -1).tolist(), label=LABELS), r"'image' has type list<.*, images are"),
        (
            table(image=ENCODED, label=LABELS / 2),
            r"'label' has type double, labels are whole numbers or texts",
        ),
        (table(image=ENCODED, label=[LABELS] * 12), r"'label' has type list<.*, labels are whole numbers"),
        (table(image=ENCODED, label=[0, 1, None] * 4), r"train: image 2 has no label \(None\): .*unlabelled"),
        (table(image=ENCODED, label=[0, 1, -1] * 4), r"train: image 2 has no label \(-1\): .*unlabelled"),
        (table(image=ENCODED, label=[0] * 12), r"the training set has 1 class, a data set needs two"),
        (table(image=ENCODED[:0], label=pa.array([], pa.int64())), r"'image' has type|no images"),
        (table(image=[*ENCODED[:11], b""], label=LABELS), r"'train.parquet row 11' is not an image"),
        (table(image=[*ENCODED[:11], ENCODED[0][:60]], label=LABELS), r"image 'train.parquet row 11': "),
        (paths_alone, r"train.parquet row 3 has no bytes of an image: embed the images first"),
        (
            label_beyond_the_names,
            r"train: label 2 of image 1 is outside of \[0, 2\), the number of class names",
        ),
        (unknown_class_in_test, r"test: label 2 of image 1 is not among those of the training set"),
        (no_part_in_one_name, r"'more.parquet' says no part: others are named train-\*"),
        (no_training_part, r"no file is named train-\*: 'test.parquet'"),
        (a_folder_of_that_name, r"'.*train.parquet' is no file"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_it(
    write: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    write(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        loaded(tmp_path)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "features", ["{", "[" * 100_000, json.dumps({"info": {"features": {"label": {"names": [1, 2]}}}}), "\xff"]
)
def test_metadata_of_another_form_names_no_classes(features: str, tmp_path: Path) -> None:
    schema = hub_schema(NAMES).with_metadata({"huggingface": features.encode("latin1")})
    write_table(tmp_path / "train.parquet", hub_rows(IMAGES, LABELS), schema)
    assert loaded(tmp_path).class_names == ("0", "1")


def test_a_changed_file_is_read_again_and_damage_in_the_cache_is_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("LPSTUDY_CACHE", str(cache))
    first = written(tmp_path / "root", image=ENCODED, label=LABELS)
    for folder in ("indexes", "images"):
        for path in (cache / folder).iterdir():
            path.write_bytes(path.read_bytes()[:-1])
        again = loaded(tmp_path / "root", streaming=True)
        shown = [
            *again.train.batches(batch_size=99, device=CPU),
            *again.test.batches(batch_size=99, device=CPU),
        ]
        assert [len(batch.labels) for batch in shown] == [6, 4]
    other = written(tmp_path / "root", image=ENCODED[::-1], label=LABELS)
    assert other.fingerprint != first.fingerprint
