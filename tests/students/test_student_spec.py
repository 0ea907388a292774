import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from lpstudy.students import StudentSpec, build


@pytest.mark.parametrize(
    ("keys", "label"),
    [
        ({"family": "maxout", "design": "fitnet1"}, "fitnet1"),
        ({"family": "maxout", "design": "teacher"}, "fitnet-teacher"),
        ({"family": "maxout", "depth": 9, "width": 16}, "maxout-d9-w16"),
        ({"family": "convnet", "depth": 4, "width": 16}, "convnet-d4-w16"),
        ({"family": "wrn", "depth": 16, "width": 2}, "wrn-16-2"),
        ({"family": "resnet", "depth": 20, "width": 1}, "resnet20"),
        ({"family": "resnet", "depth": 32, "width": 4}, "resnet32x4"),
        ({"family": "resnet50_small"}, "resnet50_small"),
        ({"family": "vgg", "depth": 13, "width": 64}, "vgg13"),
        ({"family": "vgg", "depth": 8, "width": 16}, "vgg-d8-w16"),
        ({"family": "mobilenetv2", "width": 100}, "mobilenetv2-w100"),
        ({"family": "shufflenetv1", "width": 100}, "shufflenetv1"),
        ({"family": "shufflenetv2", "width": 150}, "shufflenetv2-w150"),
        ({"family": "resnet", "depth": 50, "width": 1}, "resnet-d50-w1"),
        ({"family": "torchvision", "design": "shufflenet_v2_x0_5"}, "shufflenet_v2_x0_5"),
        ({"family": "torchvision", "design": "resnet18", "weights": "a/b.safetensors"}, "resnet18"),
        ({"family": "torchvision", "design": "resnet18", "stem": "small"}, "resnet18-small-stem"),
    ],
)
def test_a_spec_has_a_short_label(keys: dict[str, object], label: str) -> None:
    spec = StudentSpec.model_validate(keys)

    assert spec.label() == label
    assert re.fullmatch(r"[a-z0-9_-]+", label)
    assert hash(spec) == hash(StudentSpec.model_validate(keys))


@pytest.mark.parametrize("weights", ["a.safetensors", Path("a.safetensors"), "s3://bucket/a.safetensors"])
def test_weights_are_a_path_or_a_url_that_toml_writes_as_a_string(weights: object) -> None:
    spec = StudentSpec.model_validate({"family": "torchvision", "design": "resnet18", "weights": weights})

    assert spec.weights == str(weights)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"family": "vit", "depth": 3, "width": 2}, "'maxout', 'convnet', 'wrn', .* 'timm' or 'module'"),
        ({"family": "wrn", "depth": 17, "width": 2}, r"depth of a wrn must be 6n \+ 4 .* but got 17"),
        ({"family": "wrn", "depth": 4, "width": 2}, r"depth of a wrn must be 6n \+ 4 .* but got 4"),
        ({"family": "resnet", "depth": 18, "width": 1}, r"depth of a resnet must be 6n \+ 2 .* but got 18"),
        ({"family": "resnet", "depth": 2, "width": 1}, r"depth of a resnet must be 6n \+ 2 .* but got 2"),
        ({"family": "resnet", "depth": 20}, "resnet needs both depth and width"),
        (
            {"family": "resnet", "design": "resnet8x4"},
            "resnet has no designs but got 'resnet8x4': give depth and width",
        ),
        (
            {"family": "vgg", "depth": 9, "width": 64},
            "depth of a vgg must be 8, 11, 13, 16 or 19 but got 9",
        ),
        ({"family": "vgg", "depth": 8}, "vgg needs both depth and width"),
        ({"family": "mobilenetv2"}, "mobilenetv2 needs width"),
        ({"family": "mobilenetv2", "width": 1}, r"mobilenetv2 is in percent \(10 to 400\) but got 1"),
        (
            {"family": "mobilenetv2", "width": 50, "depth": 6},
            "mobilenetv2 has no depth but got depth = 6",
        ),
        ({"family": "mobilenetv2", "design": "half"}, "has no designs but got 'half': give width"),
        (
            {"family": "shufflenetv1", "width": 30},
            r"shufflenetv1 is in percent \(25, 50, ..., 400\) but got 30",
        ),
        (
            {"family": "shufflenetv2", "width": 75},
            r"shufflenetv2 is in percent \(50, 100, 150, 200\) but got 75",
        ),
        ({"family": "resnet50_small", "width": 2}, "resnet50_small has no width but got width = 2"),
        ({"family": "resnet50_small", "design": "a"}, "has no designs but got 'a': give nothing else"),
        ({"family": "wrn", "depth": 16}, "wrn needs both depth and width"),
        (
            {"family": "wrn", "design": "wrn-16-2"},
            "wrn has no designs but got 'wrn-16-2': give depth and width",
        ),
        ({"family": "convnet", "width": 16}, "convnet needs both depth and width"),
        ({"family": "convnet"}, "convnet needs both depth and width"),
        ({"family": "convnet", "depth": 0, "width": 16}, "greater than or equal to 1"),
        ({"family": "convnet", "depth": 4, "width": -1}, "greater than or equal to 1"),
        ({"family": "convnet", "depth": 4.5, "width": 16}, "valid integer"),
        ({"family": "convnet", "depth": True, "width": 16}, "valid integer"),
        ({"family": "convnet", "depth": 4, "width": 16, "dropout": 0.5}, "Extra inputs are not permitted"),
        ({"family": "maxout"}, "maxout needs both depth and width"),
        ({"family": "maxout", "depth": 2, "width": 4}, "at least 3, a layer for each group, but got 2"),
        (
            {"family": "maxout", "design": "fitnet5"},
            "unknown maxout design 'fitnet5': the known ones are fitnet1, fitnet2, fitnet3, fitnet4, teacher",
        ),
        (
            {"family": "maxout", "design": "fitnet1", "width": 4},
            "'fitnet1' has its own size: give a design, or",
        ),
        (
            {"family": "torchvision", "design": "vit_b_16", "stem": "small"},
            r'stem = "small" is for ResNet, ResNeXt, .* and RegNet, not for vit_b_16',
        ),
        (
            {"family": "torchvision", "design": "vgg11", "stem": "small"},
            r'stem = "small" is for ResNet, .* not for vgg11',
        ),
        ({"family": "torchvision", "design": "resnet18", "stem": "large"}, "should be 'small'"),
        (
            {"family": "wrn", "depth": 16, "width": 2, "stem": "small"},
            "stem = 'small' is for family torchvision, not for wrn",
        ),
        ({"family": "torchvision"}, "torchvision needs design"),
        ({"family": "torchvision", "depth": 18, "width": 1}, "torchvision needs design"),
        ({"family": "torchvision", "design": "resnet18", "depth": 18}, "'resnet18' has its own size"),
        ({"family": "torchvision", "design": "resnet19"}, "'resnet19': did you mean resnet1"),
        ({"family": "torchvision", "design": "xyzzy"}, "'xyzzy': the known ones are alexnet, "),
    ],
)
def test_a_wrong_spec_is_refused_with_the_rule_and_the_value(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        StudentSpec.model_validate(keys)

    assert all("\n" not in error["msg"] for error in caught.value.errors())


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (StudentSpec(family="maxout", design="fitnet1"), (3, 3, 32), "at least 4x4 pixels but got 3x32"),
        (
            StudentSpec(family="maxout", design="teacher"),
            (1, 6, 6),
            "teacher got images of 6x6 pixels: too small",
        ),
        (
            StudentSpec(family="convnet", depth=4, width=2),
            (1, 8, 3),
            "depth 4 .* at least 4x4 pixels but got 8x3",
        ),
        (StudentSpec(family="wrn", depth=10, width=1), (3, 2, 2), "at least 4x4 pixels but got 2x2"),
        (StudentSpec(family="resnet", depth=8, width=1), (3, 32, 3), "at least 4x4 pixels but got 32x3"),
        (StudentSpec(family="vgg", depth=8, width=8), (3, 7, 9), "at least 8x8 pixels but got 7x9"),
        (StudentSpec(family="mobilenetv2", width=50), (1, 8, 8), "at least 16x16 pixels but got 8x8"),
        (StudentSpec(family="torchvision", design="resnet18"), (1, 28, 28), "images of 3 channels but got 1"),
        (
            StudentSpec(family="torchvision", design="vgg11"),
            (3, 8, 8),
            "vgg11 cannot take images of 8x8 pixels",
        ),
        (
            StudentSpec(family="torchvision", design="vit_b_16"),
            (3, 60, 60),
            "vit_b_16 cannot take images of 60x60",
        ),
        (StudentSpec(family="torchvision", design="squeezenet1_0"), (3, 64, 64), "has no linear classifier"),
        (StudentSpec(family="convnet", depth=4, width=2), (0, 8, 8), "every number must be at least 1"),
    ],
)
def test_images_that_do_not_suit_a_design_are_refused(
    spec: StudentSpec, shape: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build(spec, input_shape=shape, classes=10)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("spec", "side"),
    [
        (StudentSpec(family="maxout", design="fitnet1"), 4),
        (StudentSpec(family="maxout", design="teacher"), 8),
        (StudentSpec(family="convnet", depth=4, width=2), 4),
        (StudentSpec(family="convnet", depth=1, width=2), 1),
        (StudentSpec(family="wrn", depth=10, width=1), 4),
        (StudentSpec(family="resnet", depth=8, width=1), 4),
        (StudentSpec(family="resnet50_small"), 8),
        (StudentSpec(family="vgg", depth=16, width=2), 8),
        (StudentSpec(family="mobilenetv2", width=10), 16),
        (StudentSpec(family="shufflenetv1", width=25), 8),
        (StudentSpec(family="shufflenetv2", width=50), 8),
    ],
)
def test_the_smallest_images_work(spec: StudentSpec, side: int) -> None:
    import torch

    network = build(spec, input_shape=(1, side, side), classes=3)

    assert network(torch.zeros(2, 1, side, side)).logits.shape == (2, 3)
