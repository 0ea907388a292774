"""Data sets of torch are read into arrays; the oracle is the list of their items."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from lpstudy.data import Arrays
from lpstudy.data.torch_datasets import arrays_of

COLOURS = np.random.default_rng(0).integers(0, 256, (12, 3, 5, 4), dtype=np.uint8)
LABELS = np.arange(12) % 2
ROOT = Path("data")


class Items(Dataset[Any]):
    def __init__(
        self, image: Callable[[int], Any], label: Callable[[int], Any] = lambda i: int(LABELS[i])
    ) -> None:
        self.image, self.label = image, label

    def __len__(self) -> int:
        return len(COLOURS)

    def __getitem__(self, index: int) -> Any:
        return self.image(index), self.label(index)


class Named(Items):
    classes = ("cat", "dog")


def pillow(index: int) -> Image.Image:
    return Image.fromarray(COLOURS[index].transpose(1, 2, 0))


def read(source: object) -> Arrays:
    return arrays_of(source, ROOT, name="own").checked()


def both(arrays: Arrays) -> set[tuple[bytes, int]]:
    images = [*arrays.train_images, *arrays.test_images]
    labels = [*arrays.train_labels.tolist(), *arrays.test_labels.tolist()]
    return {(image.tobytes(), label) for image, label in zip(images, labels, strict=True)}


@pytest.mark.parametrize(
    "image",
    [
        pillow,
        lambda i: torch.from_numpy(COLOURS[i]),
        lambda i: COLOURS[i],
        lambda i: COLOURS[i].transpose(1, 2, 0),
        lambda i: pillow(i).convert("RGBA"),
    ],
    ids=["Pillow", "tensor", "channels first", "channels last", "opaque RGBA"],
)
def test_every_form_of_an_image_gives_the_same_pixels(image: Callable[[int], Any]) -> None:
    arrays = read(Items(image))
    assert both(arrays) == {(COLOURS[i].tobytes(), int(LABELS[i])) for i in range(12)}
    assert (len(arrays.train_labels), len(arrays.test_labels), arrays.class_names) == (8, 4, ("0", "1"))


def test_the_parts_of_a_pair_or_a_dict_stay() -> None:
    train, validation, test = (Subset(Named(pillow), range(start, start + 4)) for start in (0, 4, 8))
    for source in ((train, test), {"train": train, "test": test}, lambda root: [train, test]):
        arrays = read(source)
        assert np.array_equal(arrays.train_images, COLOURS[:4])
        assert np.array_equal(arrays.test_images, COLOURS[8:])
        assert (arrays.class_names, arrays.validation) == (("cat", "dog"), 0)
    arrays = read({"train": train, "validation": validation, "test": test})
    assert np.array_equal(arrays.train_images, COLOURS[:8])
    assert arrays.validation == 4
    assert read(ConcatDataset([train, validation])).class_names == ("cat", "dog")


def test_grey_images_have_one_channel_and_three_beside_colours() -> None:
    grey = Items(lambda i: Image.fromarray(COLOURS[i, 0]), lambda i: np.int64(LABELS[i]))
    assert read(grey).train_images.shape[1] == 1
    mixed = Items(lambda i: COLOURS[i, 0] if i % 3 else pillow(i), lambda i: torch.tensor(LABELS[i]))
    arrays = read((mixed, grey))
    assert np.array_equal(arrays.train_images[1], np.stack([COLOURS[1, 0]] * 3))
    assert np.array_equal(arrays.train_images[3], COLOURS[3])
    assert arrays.test_images.shape[1] == 3


def test_a_tensor_dataset_and_arrays_are_data_too() -> None:
    tensors = TensorDataset(torch.from_numpy(COLOURS), torch.from_numpy(LABELS))
    assert both(read(tensors)) == both(read(Items(pillow)))
    given = read(tensors)
    assert arrays_of(lambda root: given, ROOT, name="own") is given


def test_transparent_images_are_counted() -> None:
    clear = Items(lambda i: Image.new("RGBA", (4, 4), (i, 0, 0, 90)))
    assert read((clear, clear)).transparent == 24
    assert read(clear).transparent == 12


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


def failing(index: int) -> Any:
    return {0: pillow(0)}[index]


GENERATOR = np.random.default_rng(1)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            Items(lambda i: torch.from_numpy(COLOURS[i]) / 255),
            r"own: train\[0\]: the image is a tensor of float32: .* leave out",
        ),
        (
            Items(lambda i: COLOURS[i].astype(float)),
            "the image is an array of float64: it must be Pillow's or of uint8",
        ),
        (Items(lambda i: "a.png"), "the image is str: it must be"),
        (Items(lambda i: COLOURS[i, :2]), r"must have shape .* or with channels last but has \(2, 5, 4\)"),
        (
            Items(lambda i: pillow(i).resize((i + 3, 4))),
            r"train\[1\] has 4x4 pixels, but the first image 3x4: all",
        ),
        (Items(pillow, lambda i: 0.5), r"own: train\[0\]: the label must be a whole number but is float"),
        (
            Items(pillow, lambda i: torch.ones(2)),
            "the label must be a whole number but is a tensor of float32",
        ),
        (
            Items(lambda i: GENERATOR.integers(0, 9, (4, 4), dtype=np.uint8)),
            r"train\[0\] is not the same when .* random",
        ),
        (Items(failing), r"own: train\[1\]: .*test_torch_datasets\.py:\d+: KeyError: 1"),
        (
            TensorDataset(torch.from_numpy(COLOURS)),
            r"train\[0\] must be a pair \(image, label\) but is tuple",
        ),
        (Subset(Items(pillow), []), "own: train has no images"),
        (Stream(), "own: train must be a map-style Dataset, with a length, but is Stream"),
        (
            {"train": Items(pillow), "val": Items(pillow)},
            "the parts are train, and test .* but are train, val",
        ),
        (lambda root: None, "own: must give Arrays, a torch Dataset, a pair .* but gave NoneType"),
        ((Named(pillow), 3), "own: test must be a map-style Dataset, with a length, but is int"),
        (
            (Items(pillow), Items(lambda i: pillow(i).resize((9, 9)))),
            r"\(3, 5, 4\) in train_images but \(3, 9, 9\)",
        ),
        (Named(pillow, lambda i: i % 3), r"labels must lie in \[0, 2\)"),
    ],
)
def test_what_is_no_such_data_set_is_refused_in_one_line(source: object, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read(source)
    assert "\n" not in str(caught.value)
