"""Crops of random size, operations and erased boxes: drawn by the hash, computed as torchvision does."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from lpstudy.data import UNLIMITED
from lpstudy.data.augment import uniforms, view_of
from lpstudy.data.erasing import erase, erased_boxes
from lpstudy.data.policies import BINS, OPERATIONS, Policy, kernel
from lpstudy.data.preprocessing import Preprocessing, Rows
from lpstudy.data.resized_crop import BoxRange, ViewCrops
from lpstudy.sample_hash import hash64

CPU = torch.device("cpu")
IMAGENET = BoxRange((0.08, 1.0), (3 / 4, 4 / 3))
POLICIES = {"randaugment": Policy("randaugment", 2, 9), "trivialaugment": Policy("trivialaugment", 1, None)}
NAMES = {
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "saturation": "Color",
    "autocontrast": "AutoContrast",
}
"""Where torchvision's policies call an operation otherwise than in capitals."""
DRAWS = 4000


def torchvisions(name: str) -> v2.RandAugment | v2.TrivialAugmentWide:
    return v2.RandAugment() if name == "randaugment" else v2.TrivialAugmentWide()


def pictures(count: int = 24, channels: int = 3, size: tuple[int, int] = (20, 26)) -> Tensor:
    """Smooth images, so that interpolation matters, with all values of a byte."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [
        [np.sin(x / (3 + n % 5) + c) * np.cos(y / (2 + n % 7) - n) for c in range(channels)]
        for n in range(count)
    ]
    return torch.from_numpy(np.rint(np.array(waves) * 127.5 + 127.5).astype(np.uint8))


def preprocessing(policy: str, **changes: object) -> Preprocessing:
    full = Preprocessing(
        (0.5,) * 3,
        (0.25,) * 3,
        flip=True,
        seed=3,
        resized_crop=IMAGENET,
        policy=POLICIES[policy],
        erasing=0.5,
    )
    return replace(full, **changes)


def view(recipe: Preprocessing, samples: Tensor, number: int) -> Tensor:
    """Images of a view, all 24 of which are at hand."""
    images = pictures()[samples]
    crops = recipe.crops(number)
    images = images if crops is None else crops.cut(images, samples)
    return recipe.augmented_batch(images, samples, Rows(samples, samples), number, CPU).images


def test_uniform_numbers_are_53_bits_of_a_hash():
    drawn = uniforms(torch.tensor([5, 9]), 3, 7, 2**62 - 1)
    for row, sample in enumerate((5, 9)):
        expected = [int(hash64(torch.tensor(sample), 7, 2**62 - 1, n)) // 2**10 / 2**53 for n in range(3)]
        assert drawn[row].tolist() == expected
    many = uniforms(torch.arange(DRAWS), 2, 0, 0)
    assert 0 <= many.min() < 1e-3 < 1 - 1e-3 < many.max() < 1
    assert many.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=4 * math.sqrt(1 / 12 / DRAWS))
    assert abs(np.corrcoef(many.T)[0, 1]) < 4 / math.sqrt(DRAWS)


def test_of_unlimited_views_each_epoch_and_seed_has_its_own():
    shown = [view_of(seed=seed, epoch=epoch, count=UNLIMITED) for seed in range(9) for epoch in range(1, 99)]
    assert len(set(shown)) == len(shown)
    assert all(0 <= number < UNLIMITED for number in shown)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("changes", [{}, {"resized_crop": None, "pad": 2}], ids=["resized", "padded"])
def test_a_view_is_the_same_in_any_batch_and_order(policy, changes):
    recipe = preprocessing(policy, **changes)
    everything = torch.arange(24)
    for number in (0, 1, UNLIMITED - 1):
        whole = view(recipe, everything, number)
        assert torch.equal(view(recipe, everything.flip(0), number).flip(0), whole)
        for sample in (0, 7, 23):
            assert torch.equal(view(recipe, torch.tensor([sample]), number)[0], whole[sample])
    assert not torch.equal(view(recipe, everything, 0), view(recipe, everything, 1))
    assert not torch.equal(view(replace(recipe, seed=4), everything, 0), view(recipe, everything, 0))


@pytest.mark.parametrize("ratio", [IMAGENET.ratio, (1.5, 4.0)])
def test_crops_are_in_their_range_and_spread_as_torchvisions(ratio):
    crops, size = ViewCrops(BoxRange((0.08, 0.5), ratio), 1, 5), (64, 48)
    boxes = torch.tensor([box(*size) for box in crops.box_functions(torch.arange(DRAWS))]).double()
    top, left, height, width = boxes.T
    assert (top.min(), left.min()) == (0, 0)
    assert (top + height).max() == size[0]
    assert (left + width).max() == size[1]
    area, shape = height * width / math.prod(size), width / height
    # Sides are rounded to whole pixels: half a pixel of 8 or more.
    assert area.min() > 0.08 * 0.9
    assert shape.min() > ratio[0] * 0.9
    assert shape.max() < ratio[1] * 1.1
    torch.manual_seed(0)
    image = torch.empty(3, *size)
    others = [v2.RandomResizedCrop(8, (0.08, 0.5), ratio).make_params([image]) for _ in range(DRAWS)]
    for mine, key in ((height, "height"), (width, "width"), (top, "top"), (left, "left")):
        other = torch.tensor([params[key] for params in others]).double()
        error = 4 * other.std() * math.sqrt(2 / DRAWS)
        assert mine.mean() == pytest.approx(float(other.mean()), abs=float(error)), key
        assert mine.std() == pytest.approx(float(other.std()), rel=0.06), key


def test_crops_differ_between_views_seeds_and_samples():
    boxes = [
        [box(100, 100) for box in ViewCrops(IMAGENET, seed, view).box_functions(torch.arange(20))]
        for seed, view in ((0, 0), (0, 1), (1, 0), (0, UNLIMITED - 1))
    ]
    assert len({box for row in boxes for box in row}) == 80


def test_a_box_that_never_fits_becomes_the_largest_centred_one():
    crops = ViewCrops(BoxRange((1.0, 1.0), (3 / 4, 4 / 3)), 0, 0)
    for size, expected in (((10, 100), (0, 43, 10, 13)), ((100, 10), (43, 0, 13, 10))):
        (box,) = crops.box_functions(torch.tensor([3]))
        assert box(*size) == expected


def test_a_crop_is_resized_as_by_torchvision():
    images, samples = pictures(), torch.arange(24)
    crops = ViewCrops(IMAGENET, 2, 7)
    cut = crops.cut(images, samples)
    assert cut.shape == images.shape
    for image, result, box in zip(images, cut, crops.box_functions(samples), strict=True):
        top, left, height, width = box(20, 26)
        expected = v2.Resize((20, 26), antialias=True)(image[:, top : top + height, left : left + width])
        assert torch.equal(result, expected)


@pytest.mark.parametrize("name", OPERATIONS)
def test_magnitudes_are_torchvisions(name):
    space = torchvisions(name)._AUGMENTATION_SPACE
    operations = {NAMES.get(one.name, one.name.capitalize()): one for one in OPERATIONS[name]}
    assert operations.keys() == space.keys()
    for key, (magnitudes, signed) in space.items():
        assert operations[key].signed == signed
        expected = magnitudes(BINS, 48, 64)
        side = 48 if key.endswith("Y") else 64
        if expected is not None:
            assert operations[key].magnitudes(side) == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_torchvisions(name, channels):
    policy, images = torchvisions(name), pictures(3, channels)
    for operation in OPERATIONS[name]:
        for number, sign in ((0, 1), (9, -1), (17, 1), (30, -1)):
            magnitude = operation.magnitudes(26)[number] * (sign if operation.signed else 1)
            expected = [
                policy._apply_image_or_video_transform(
                    image,
                    NAMES.get(operation.name, operation.name.capitalize()),
                    magnitude,
                    interpolation=v2.InterpolationMode.NEAREST,
                    fill={type(image): None},
                )
                for image in images
            ]
            assert torch.equal(kernel(operation.name, magnitude)(images), torch.stack(expected))


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_as_frequent_as_the_others(name):
    policy = POLICIES[name]
    samples, size = torch.arange(DRAWS), (32, 32)
    per_place = [
        policy.draws(samples, size, seed=0, view=4, place=place) for place in range(policy.operations)
    ]
    count = len(OPERATIONS[name])
    for draws in per_place:
        counts = Counter(operation.name for operation, _ in draws)
        assert len(counts) == count
        spread = math.sqrt(DRAWS / count)
        assert all(abs(number - DRAWS / count) < 4.5 * spread for number in counts.values())
        signs = [magnitude > 0 for operation, magnitude in draws if operation.signed and magnitude]
        assert sum(signs) / len(signs) == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(len(signs)))
    if policy.operations == 2:
        assert sum(a == b for a, b in zip(*per_place, strict=True)) < 0.15 * DRAWS  # 1/14 by chance, or less
        assert {magnitude for operation, magnitude in per_place[0] if operation.name == "rotate"} == {
            9.0,
            -9.0,
        }
    else:
        rotations = {abs(magnitude) for operation, magnitude in per_place[0] if operation.name == "rotate"}
        assert len(rotations) > 25  # of 31


def test_translations_are_shares_of_the_side_along_which_they_go():
    draws = POLICIES["randaugment"].draws(torch.arange(400), (331, 662), seed=0, view=0, place=0)
    pixels = {
        name: {abs(magnitude) for operation, magnitude in draws if operation.name == name}
        for name in ("translate_y", "translate_x")
    }
    assert list(pixels["translate_y"]) == pytest.approx([150 * 9 / 30])
    assert list(pixels["translate_x"]) == pytest.approx([300 * 9 / 30])


def test_a_policy_applies_what_it_draws_one_after_the_other():
    policy, images, samples = Policy("randaugment", 3, 20), pictures(), torch.arange(24)
    expected = list(images)
    for place in range(3):
        draws = policy.draws(samples, (20, 26), seed=1, view=9, place=place)
        expected = [
            kernel(operation.name, magnitude)(image[None])[0]
            for image, (operation, magnitude) in zip(expected, draws, strict=True)
        ]
    before = images.clone()
    assert torch.equal(policy.apply(images, samples, seed=1, view=9), torch.stack(expected))
    assert torch.equal(images, before)


def test_boxes_are_erased_as_often_as_asked_and_spread_as_torchvisions():
    size, probability = (60, 45), 0.25
    boxes = erased_boxes(torch.arange(4 * DRAWS), size, probability=probability, seed=2, view=1)
    some = torch.tensor([box for box in boxes if box[2]]).double()
    assert len(some) / len(boxes) == pytest.approx(
        probability, abs=4 * math.sqrt(probability * (1 - probability) / len(boxes))
    )
    torch.manual_seed(0)
    image = torch.zeros(3, *size)
    others = [v2.RandomErasing(p=1).make_params([image]) for _ in range(len(some))]
    for mine, key in zip(some.T, ("i", "j", "h", "w"), strict=True):
        other = torch.tensor([params[key] for params in others]).double()
        error = 4 * other.std() * math.sqrt(2 / len(some))
        assert mine.mean() == pytest.approx(float(other.mean()), abs=float(error)), key
        assert mine.std() == pytest.approx(float(other.std()), rel=0.06), key


def test_an_erased_box_is_0_in_all_channels():
    images = torch.rand(3, 2, 9, 7) + 1
    boxes = [(2, 1, 4, 3), (0, 0, 0, 0), (0, 6, 9, 1)]
    expected = [
        functional.erase(image, i=i, j=j, h=h, w=w, v=torch.zeros(1))
        for image, (i, j, h, w) in zip(images, boxes, strict=True)
    ]
    erase(images, boxes)
    assert torch.equal(images, torch.stack(expected))


def test_half_of_the_crops_are_mirrored():
    recipe = replace(preprocessing("randaugment"), policy=None, erasing=0.0)
    still = view(replace(recipe, flip=False), torch.arange(24), 3)
    shown = view(recipe, torch.arange(24), 3)
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(shown, still, strict=True)]
    assert all(
        torch.equal(a, b.flip(2) if flip else b) for a, b, flip in zip(shown, still, mirrored, strict=True)
    )
    assert 4 <= sum(mirrored) <= 20
