"""The same images as a folder, in parquet files, in an .npz file and in shards are the same data set."""

from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from image_forms import Parts, write_npz, write_parquet, write_shards, write_tree

from lpstudy.cost import cost_of
from lpstudy.data import Data, DataSpec, Order, load
from lpstudy.methods import METHODS
from lpstudy.space import RunSpec
from lpstudy.students import StudentSpec, build
from lpstudy.teacher import OnlineTeacher
from lpstudy.training.trainer import Trainer

CPU = torch.device("cpu")
NAMES = ("bird", "cat", "deer", "dog", "frog")
COUNTS = {"train": 12, "val": 3, "test": 4}
FORMS: dict[str, Callable[[Path, Parts, tuple[str, ...]], None]] = {
    "image_folder": write_tree,
    "parquet": write_parquet,
    "npz": lambda root, parts, names: write_npz(root / "animals.npz", parts, names),
    "webdataset": write_shards,
}


def animals(*parts: str) -> Parts:
    """Images in the order of their classes, as the files of a folder are read."""
    generator = np.random.default_rng(0)
    every = {
        part: (
            generator.integers(0, 256, (5 * count, 3, 16, 16), dtype=np.uint8),
            np.repeat(np.arange(5), count),
        )
        for part, count in COUNTS.items()
    }
    return {part: every[part] for part in parts}


def written(kind: str, root: Path, *parts: str, **keys: object) -> Data:
    FORMS[kind](root, animals(*parts), NAMES)
    return load(DataSpec.model_validate({"kind": kind, "root": root} | keys))


def assert_alike(one: Data, other: Data) -> None:
    assert (one.class_names, one.input_shape) == (other.class_names, other.input_shape)
    assert (one.mean, one.std) == (other.mean, other.std)
    for part in ("train", "validation", "test"):
        mine, others = (getattr(data, part).batches(batch_size=99, device=CPU) for data in (one, other))
        for batch, other_batch in zip(mine, others, strict=True):
            assert torch.equal(batch.images, other_batch.images)
            assert torch.equal(batch.labels, other_batch.labels)


@pytest.mark.parametrize("parts", [("train", "val", "test"), ("train", "test"), ("train", "val"), ("train",)])
@pytest.mark.parametrize("kind", [kind for kind in FORMS if kind != "image_folder"])
def test_every_form_gives_the_same_arrays_and_fingerprint(
    kind: str, parts: tuple[str, ...], tmp_path: Path
) -> None:
    folder = written("image_folder", tmp_path / "folder", *parts)
    other = written(kind, tmp_path / "other", *parts)
    assert_alike(folder, other)
    assert other.fingerprint == folder.fingerprint


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_every_form_streams_the_same_images(kind: str, tmp_path: Path) -> None:
    keys = {"streaming": True, "crop": "resized", "image_size": 8, "split_seed": 3}
    folder = written("image_folder", tmp_path / "folder", *COUNTS, **keys)
    other = written(kind, tmp_path / "other", *COUNTS, **keys)
    assert_alike(folder, other)
    crops = [[*data.train.epoch(Order(0, 1, 8), device=CPU)] for data in (folder, other)]
    for batch, other_batch in zip(*crops, strict=True):
        assert torch.equal(batch.images, other_batch.images)


def trained(data: Data) -> tuple[float, ...]:
    """The numbers of an epoch of distillation from a network that was not trained."""
    spec = StudentSpec(family="convnet", depth=2, width=4)
    shape = {"input_shape": data.input_shape, "classes": data.classes}
    teacher = OnlineTeacher(build(spec, seed=9, **shape), cost_of(spec, **shape).macs)
    training = {"batch_size": 10, "checkpoint_seconds": 0.0, "precision": "fp32"}
    method = METHODS["kd"].model_validate({})
    run = RunSpec.model_validate(
        {"student": spec, "method": method, "training": training, "epochs": 1, "seed": 0}
    )
    metrics = Trainer(run, data, teacher, CPU).epoch(1, (), read_test=True).metrics
    return tuple(metrics[name] for name in ("train_loss", "validation_accuracy", "test_accuracy"))


def test_every_form_trains_the_same_network(tmp_path: Path) -> None:
    results = {kind: trained(written(kind, tmp_path / kind, *COUNTS)) for kind in FORMS}
    assert len({*results.values()}) == 1, results


@pytest.mark.parametrize("kind", ["parquet", "npz", "webdataset"])
def test_a_url_gives_what_a_folder_gives(kind: str, tmp_path: Path) -> None:
    keys = {"streaming": True} if kind != "npz" else {}
    local = written(kind, tmp_path / "folder", *COUNTS, **keys)
    store = fsspec.filesystem("memory")
    url = f"memory://{tmp_path.name}-{kind}"
    store.put(f"{tmp_path}/folder/", f"/{tmp_path.name}-{kind}/", recursive=True)
    pattern = {"parquet": "data/*.parquet", "npz": "animals.npz", "webdataset": "{train,val,test}-*.tar"}[
        kind
    ]
    for root in (url, f"{url}/{pattern}"):
        remote = load(DataSpec.model_validate({"kind": kind, "root": root} | keys))
        assert_alike(local, remote)
        assert remote.fingerprint == local.fingerprint


@pytest.mark.parametrize("kind", ["parquet", "npz", "webdataset"])
def test_what_is_in_the_cache_is_not_read_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = written(kind, tmp_path / "root", *COUNTS)
    readers = {
        "parquet": "pyarrow.parquet.ParquetFile",
        "npz": "lpstudy.data.npz._read",
        "webdataset": "tarfile.open",
    }
    monkeypatch.setattr(readers[kind], None)
    spec = DataSpec.model_validate({"kind": kind, "root": tmp_path / "root"})
    assert load(spec).fingerprint == data.fingerprint
