"""A data set from outside is one function that returns arrays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from lpstudy.data import Arrays, DataSpec, Order, arrays_with_test_part, data_from_arrays, load, register
from lpstudy.data.preprocessing import Preprocessing
from lpstudy.data.split import Split

CPU = torch.device("cpu")
NAMES = ("circle", "square", "star")
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 2, 6, 5), dtype=np.uint8)
LABELS = np.arange(60, dtype=np.uint8) % 3
ARRAYS = arrays_with_test_part(IMAGES, LABELS, NAMES)
SPEC = DataSpec.model_construct(kind="shapes", pad=1, flip=True)


def read_shapes(root: Path) -> Arrays:
    file = np.load(root / "shapes.npz")
    return arrays_with_test_part(file["images"], file["labels"], NAMES)


def read_badly(root: Path) -> Arrays:
    raise KeyError(f"no images\nin {root.name}")


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpstudy.data.registry.LOADERS", {})


def test_a_registered_set_is_loaded_from_its_folder(tmp_path: Path) -> None:
    np.savez(tmp_path / "shapes.npz", images=IMAGES, labels=LABELS)
    register("shapes", read_shapes)
    data = load(SPEC, root=tmp_path)
    assert (data.name, data.class_names, data.input_shape) == ("shapes", NAMES, (2, 6, 5))
    assert data.augmentations == 18
    parts = [
        next(part.batches(batch_size=60, device=CPU)) for part in (data.train, data.validation, data.test)
    ]
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (data.mean, data.std))
    actual = sorted(
        (image.numpy().tobytes(), int(label))
        for batch in parts
        for image, label in zip(
            ((batch.images * std + mean) * 255).round().to(torch.uint8), batch.labels, strict=True
        )
    )
    assert actual == sorted(
        (image.tobytes(), int(label)) for image, label in zip(IMAGES, LABELS, strict=True)
    )


def test_its_images_are_in_the_cache_and_identify_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))
    first = data_from_arrays(ARRAYS, SPEC)
    assert len([*(tmp_path / "cache" / "arrays").iterdir()]) == 1
    assert data_from_arrays(ARRAYS, SPEC).fingerprint == first.fingerprint
    other = replace(ARRAYS, train_images=ARRAYS.train_images ^ np.uint8(1))
    assert data_from_arrays(other, SPEC).fingerprint != first.fingerprint


def test_a_third_of_every_class_is_the_test_part() -> None:
    assert np.bincount(ARRAYS.test_labels).tolist() == [7, 7, 7]
    assert np.bincount(ARRAYS.train_labels).tolist() == [13, 13, 13]
    again = arrays_with_test_part(IMAGES, LABELS.astype(np.int32), NAMES)
    assert np.array_equal(again.test_images, ARRAYS.test_images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train_images": IMAGES / 255},
            r"train_images must be uint8 of shape \(n, channels, height, width\) but are float64",
        ),
        ({"test_images": IMAGES[:, 0]}, r"test_images must be uint8 .* shape \(60, 6, 5\)"),
        ({"test_images": ARRAYS.test_images[:, :, :5]}, r"\(2, 6, 5\) in train_images but \(2, 5, 5\)"),
        ({"train_labels": LABELS[:5]}, r"train_labels must be integers of shape \(39,\)"),
        ({"train_labels": ARRAYS.train_labels / 1}, r"train_labels must be integers .* are float64"),
        (
            {"test_labels": ARRAYS.test_labels + 1},
            r"test_labels must lie in \[0, 3\), .* reach from 1 to 3",
        ),
        ({"class_names": ("one",)}, "class_names must be two or more texts"),
        ({"class_names": (*NAMES, "ring")}, "train_labels have no image of class 'ring'"),
    ],
)
def test_other_shapes_and_types_are_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"data set 'shapes': .*{message}") as error:
        data_from_arrays(replace(ARRAYS, **change), SPEC)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_a_pad_as_large_as_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="pad is 5, it must be below the image's side of 5 pixels"):
        data_from_arrays(ARRAYS, SPEC.model_copy(update={"pad": 5}))


def test_a_registered_kind_is_legal_in_a_study_file_and_in_its_schema() -> None:
    for kind in ("svhn", "shapes"):
        with pytest.raises(ValidationError, match=r"Input should be 'digits', .* or 'webdataset'"):
            DataSpec(kind=kind)
    register("shapes", read_shapes)
    assert DataSpec(kind="shapes").kind == "shapes"
    assert DataSpec.model_json_schema()["properties"]["kind"]["oneOf"][0]["enum"][-2:] == [
        "webdataset",
        "shapes",
    ]
    with pytest.raises(ValidationError, match=r"Input should be 'digits', .* or 'shapes'"):
        DataSpec(kind="svhn")
    for values in ({"streaming": True}, {"image_size": 32}):
        with pytest.raises(ValidationError, match="imagenet, image_folder, parquet and webdataset"):
            DataSpec.model_validate({"kind": "shapes"} | values)


def test_an_error_of_a_loader_is_one_line_with_its_place(tmp_path: Path) -> None:
    register("shapes", read_badly)
    place = rf"{Path(__file__).name}:\d+: KeyError: 'no images.*in {tmp_path.name}'"
    with pytest.raises(ValueError, match=rf"the loader of 'shapes' failed: .*{place}") as error:
        load(SPEC, root=tmp_path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_said_by_the_loader_itself(tmp_path: Path) -> None:
    register("shapes", read_shapes)
    with pytest.raises(FileNotFoundError, match=r"shapes\.npz"):
        load(SPEC, root=tmp_path)


def test_names_are_registered_once(tmp_path: Path) -> None:
    register("shapes", read_shapes)
    register("shapes", read_shapes)
    for kind, message in (
        ("shapes", "is registered by .*read_shapes already"),
        ("digits", "is a data set of lpstudy"),
        ("My Shapes", "kind must match"),
    ):
        with pytest.raises(ValueError, match=message):
            register(kind, read_badly)


def test_what_is_no_arrays_is_refused(tmp_path: Path) -> None:
    register("shapes", lambda root: IMAGES)  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match=r"must give Arrays, a torch Dataset, .* but gave ndarray"):
        load(SPEC, root=tmp_path)


class GreyPixels:
    """Images that are computed: each pixel is the sample's number."""

    def read(self, batches):
        return (samples.to(torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4) for samples in batches)

    def to(self, device):
        return self


def test_a_source_of_pixels_is_two_methods() -> None:
    split = Split(GreyPixels(), torch.arange(20) % 2, Preprocessing((0.0,), (1 / 255,)))
    batches: list[Tensor] = []
    for batch in split.to(CPU).epoch(Order(0, 1, 8), device=CPU):
        assert torch.equal(batch.images[:, 0, 0, 0].round().long(), batch.samples)
        assert torch.equal(batch.labels, batch.samples % 2)
        batches.append(batch.samples)
    assert [len(samples) for samples in batches] == [8, 8]
    rest = split.epoch(Order(0, 1, 8), device=CPU, first_batch=1)
    assert [batch.samples.tolist() for batch in rest] == [batches[1].tolist()]
