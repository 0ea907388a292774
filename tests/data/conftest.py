"""Tiny data sets of every kind."""

from collections.abc import Callable
from pathlib import Path

import pytest
from example_sets import ExampleSet, make_cifar, make_mnist, make_tree, tree_images
from image_forms import Parts, write_npz, write_parquet, write_shards

from lpstudy.data import DataSpec
from lpstudy.data.digits import read_digits


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of images, root/train and root/test."""
    make_tree(tmp_path / "tree", DataSpec(kind="image_folder"), "test")
    return tmp_path / "tree"


def make_form(
    write: Callable[[Path, Parts, tuple[str, ...]], None], root: Path, **keys: object
) -> ExampleSet:
    """The images of `make_tree` in another form."""
    train, train_labels, test, test_labels, names = tree_images()
    write(root, {"train": (train, train_labels), "test": (test, test_labels)}, names)
    spec = DataSpec.model_validate({"root": root} | keys)
    return ExampleSet(spec, train, train_labels, test, test_labels, names)


MAKERS: dict[str, Callable[[Path, pytest.MonkeyPatch], ExampleSet]] = {
    "mnist": lambda root, patch: make_mnist(root),
    "cifar10": lambda root, patch: make_cifar("cifar10", root, patch),
    "cifar100": lambda root, patch: make_cifar("cifar100", root, patch),
    "image_folder": lambda root, patch: make_tree(root, DataSpec(kind="image_folder", root=root), "test"),
    "image_folder with val": lambda root, patch: make_tree(
        root, DataSpec(kind="image_folder", root=root, image_size=12), "val"
    ),
    "image_folder, streamed": lambda root, patch: make_tree(
        root, DataSpec(kind="image_folder", root=root, streaming=True), "test"
    ),
    "parquet": lambda root, patch: make_form(write_parquet, root, kind="parquet"),
    "parquet, streamed": lambda root, patch: make_form(write_parquet, root, kind="parquet", streaming=True),
    "npz": lambda root, patch: make_form(
        lambda path, parts, names: write_npz(path / "images.npz", parts, names), root, kind="npz"
    ),
    "webdataset": lambda root, patch: make_form(write_shards, root, kind="webdataset"),
    "webdataset, streamed": lambda root, patch: make_form(
        write_shards, root, kind="webdataset", streaming=True
    ),
    "imagenet": lambda root, patch: make_tree(
        root, DataSpec(kind="imagenet", root=root, image_size=12), "val"
    ),
    "imagenet, in memory": lambda root, patch: make_tree(
        root, DataSpec(kind="imagenet", root=root, image_size=12, streaming=False), "val"
    ),
}


@pytest.fixture(params=MAKERS)
def file_example(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ExampleSet:
    """A tiny data set, once of every kind that consists of files."""
    return MAKERS[request.param](tmp_path / "root", monkeypatch)


@pytest.fixture(params=[*MAKERS, "digits"])
def example(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExampleSet:
    """A tiny data set, once of every kind."""
    if request.param == "digits":  # which of scikit-learn's images are the test set is tested by itself
        images = read_digits()
        train, test = images.train_images, images.test_images
        names = tuple("0123456789")
        return ExampleSet(
            DataSpec(kind="digits"), train, images.train_labels, test, images.test_labels, names
        )
    return MAKERS[request.param](tmp_path / "root", monkeypatch)
