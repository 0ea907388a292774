from pathlib import Path

import pytest
from pydantic import ValidationError

from lpstudy.cache import cache_folder
from lpstudy.data import DataSpec, default_root


def test_needs_a_kind_only():
    spec = DataSpec(kind="digits")
    assert (spec.validation_fraction, spec.split_seed, spec.pad, spec.flip) == (0.2, 0, 0, False)
    assert (spec.root, spec.labels_per_class, spec.image_size, spec.streaming) == (None,) * 4


def test_takes_what_toml_gives():
    spec = DataSpec.model_validate(
        {"kind": "image_folder", "root": "some/folder", "validation_fraction": 0.5}
    )
    assert spec.root == Path("some/folder")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"kind": "svhn"},
            "'digits', 'mnist', .* 'image_folder', 'parquet', 'npz' or 'webdataset'",
        ),
        ({"colour": 1}, "Extra inputs are not permitted"),
        ({"validation_fraction": 0.0}, "greater than 0"),
        ({"validation_fraction": 0.6}, "less than or equal to 0.5"),
        ({"split_seed": -1}, "greater than or equal to 0"),
        ({"split_seed": 2**63}, "less than"),
        ({"labels_per_class": 1}, "greater than or equal to 2"),
        ({"labels_per_class": True}, "valid integer"),
        ({"labels_per_class": 2.0}, "valid integer"),
        ({"pad": -1}, "greater than or equal to 0"),
        ({"pad": 8}, "pad is 8, it must be below the image's side of 8 pixels"),
        ({"flip": 1}, "valid boolean"),
        ({"image_size": 16}, "image_size is 16, but images of digits keep their 8 pixels"),
        ({"streaming": True}, "streaming is for imagenet, image_folder, parquet and webdataset"),
        ({"kind": "image_folder", "image_size": 7}, "greater than or equal to 8"),
        ({"crop": "resized", "pad": 2}, "pad: has no effect with crop = 'resized'"),
        ({"scale": [0.1, 1.0]}, "scale: has no effect without crop = 'resized'"),
        ({"ratio": [0.5, 2.0]}, "ratio: has no effect without crop = 'resized'"),
        ({"crop": "resized", "scale": [0.5, 0.1]}, r"must be \[lowest, highest\] but got \[0.5, 0.1\]"),
        ({"crop": "resized", "scale": [0.5]}, "at least 2"),
        ({"crop": "resized", "scale": [0.5, 1.1]}, "less than or equal to 1"),
        ({"crop": "resized", "ratio": [0.0, 1.0]}, "greater than 0"),
        ({"augment": "autoaugment"}, "'none', 'randaugment' or 'trivialaugment'"),
        ({"operations": 2}, "operations: has no effect without augment = 'randaugment'"),
        ({"augment": "trivialaugment", "magnitude": 9}, "magnitude: has no effect without augment = 'rand"),
        ({"augment": "randaugment", "magnitude": 31}, "less than or equal to 30"),
        ({"augment": "randaugment", "operations": 0}, "greater than or equal to 1"),
        ({"erase": 1.5}, "less than or equal to 1"),
        ({"resize": 16}, "resize: needs image_size, with imagenet, image_folder, parquet and webdataset"),
        (
            {"kind": "image_folder", "resize": 16},
            "resize: needs image_size, with imagenet, image_folder, parquet and webdataset",
        ),
        ({"kind": "npz", "image_size": 32}, "images of npz keep their size"),
        ({"image_column": "img"}, "image_column: has no effect without kind = 'parquet'"),
        ({"label_column": "y"}, "label_column: has no effect without kind = 'parquet'"),
        ({"unlabelled": []}, "must be a path, 'rest' or a list of distinct ones"),
        ({"unlabelled": ["more", "more"]}, "must be a path, 'rest' or a list of distinct ones"),
        ({"unlabelled": " "}, "must be a path, 'rest' or a list of distinct ones"),
        ({"unlabelled": 3}, "must be a path, 'rest' or a list of distinct ones"),
        ({"unlabelled": ["rest", "more"]}, "unlabelled: needs labels_per_class"),
        ({"kind": "imagenet", "resize": 224}, "resize: must be above image_size = 224 but got 224"),
        ({"kind": "imagenet", "image_size": 32, "pad": 32}, "below the image's side of 32 pixels"),
    ],
)
def test_refuses_what_is_out_of_range(changes, message):
    with pytest.raises(ValidationError, match=message):
        DataSpec.model_validate({"kind": "digits", **changes})


def test_folders_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("LPSTUDY_DATA", "~/pictures")
    monkeypatch.setenv("LPSTUDY_CACHE", "/somewhere/cache")
    assert (default_root(), cache_folder()) == (Path("~/pictures").expanduser(), Path("/somewhere/cache"))
    monkeypatch.delenv("LPSTUDY_DATA")
    monkeypatch.delenv("LPSTUDY_CACHE")
    home = Path("~/.cache/lpstudy").expanduser()
    assert (default_root(), cache_folder()) == (home, home / "cache")
