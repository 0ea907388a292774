"""Networks for large images are named where the images are small, with what to do about it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpstudy.command.large_stems import stem_remarks
from lpstudy.data import Data, load
from lpstudy.space import parse

RESNET = {"family": "torchvision", "design": "resnet18"}
SMALL = RESNET | {"stem": "small"}
WRN = {"family": "wrn", "depth": 10, "width": 1}
COST = (
    "its first convolution, of stride {}, is made for large images, and these have {side}x{side} pixels,"
    " which costs over 5 points of accuracy at 32x32 (arXiv 2605.31191)"
)
FAMILY = "a family for small images, such as resnet"
REMEDY = f'stem = "small", or {FAMILY}'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of 40 pixels in two classes, and two to test."""
    root = tmp_path_factory.mktemp("images")
    for number in range(8):
        folder = root / ("test" if number > 5 else "train") / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.full((40, 40, 3), 10 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def _remarks(root: Path, teacher: dict[str, object], *students: dict[str, object], side: int) -> list[str]:
    table = {
        "name": "study",
        "data": {"kind": "image_folder", "validation_fraction": 0.4, "image_size": side},
        "teacher": teacher,
        "students": list(students),
        "methods": {"bp": {}},
    }
    spec = parse(table, "study")
    data: Data = load(spec.data, root=root)
    return list(stem_remarks(spec, data))


def test_a_large_stem_is_named_with_its_remedy(root: Path) -> None:
    vit = {"family": "torchvision", "design": "vit_b_16"}

    lines = _remarks(root, RESNET, WRN, vit, side=32)

    assert lines == [
        f"teacher resnet18: {COST.format(2, side=32)}; give [teacher] {REMEDY}",
        f"student vit_b_16: {COST.format(16, side=32)}; give it {FAMILY}",
    ]


def test_timm_s_models_are_named_too(root: Path) -> None:
    pytest.importorskip("timm")

    (line,) = _remarks(root, WRN, {"family": "timm", "design": "test_resnet.r160_in1k"}, side=32)

    assert line == f"student test_resnet-r160_in1k: {COST.format(2, side=32)}; give it {FAMILY}"


def test_a_student_s_weights_need_larger_images(root: Path) -> None:
    (line,) = _remarks(root, WRN, RESNET | {"weights": "w.safetensors"}, side=63)

    assert line == f"student resnet18: {COST.format(2, side=63)}; give it larger images"


@pytest.mark.parametrize(
    ("network", "side"),
    [(SMALL, 32), (WRN, 32), ({"family": "torchvision", "design": "vgg11"}, 32), (RESNET, 64)],
)
def test_small_stems_and_large_images_are_left_alone(
    network: dict[str, object], side: int, root: Path
) -> None:
    assert _remarks(root, network, network, side=side) == []


def test_searched_sizes_are_left_alone(root: Path) -> None:
    assert _remarks(root, WRN, WRN | {"width": {"choices": [1, 2]}}, side=32) == []
