"""Tiny data sets of every kind."""

from collections.abc import Callable
from pathlib import Path

import pytest
from example_sets import ExampleSet, make_cifar, make_mnist, make_tree

from lpstudy.data import DataSpec
from lpstudy.data.digits import read_digits


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of images, root/train and root/test."""
    make_tree(tmp_path / "tree", DataSpec(kind="image_folder"), "test")
    return tmp_path / "tree"


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
