"""The published sizes of designs."""

import pytest
import torch

from lpstudy.cost import cost_of
from lpstudy.students import StudentSpec, build

CIFAR = (3, 32, 32)

FITNETS = [
    # design, parameters, MACs: arXiv 1412.6550, recomputed with a 2-piece fully-connected layer
    ("teacher", 9.04e6, 725.1e6),
    ("fitnet1", 249.6e3, 30.15e6),
    ("fitnet2", 861.9e3, 107.8e6),
    ("fitnet3", 1.50e6, 324e6),
    ("fitnet4", 2.545e6, 381.7e6),
]


@pytest.mark.parametrize(("design", "parameters", "macs"), FITNETS)
def test_fitnets_have_their_published_size(design: str, parameters: float, macs: float) -> None:
    cost = cost_of(StudentSpec(family="maxout", design=design), input_shape=CIFAR, classes=10)

    assert float(f"{cost.parameters:.{_digits(parameters)}g}") == parameters
    assert float(f"{cost.macs:.{_digits(macs)}g}") == macs


def _digits(value: float) -> int:
    return len(f"{value:.10e}".split("e")[0].rstrip("0").replace(".", ""))


@pytest.mark.parametrize(
    ("design", "middle", "shape", "depth"),
    [
        ("teacher", "conv2", (192, 7, 7), 3),
        ("fitnet1", "conv6", (32, 8, 8), 9),
        ("fitnet2", "conv6", (80, 8, 8), 9),
        ("fitnet3", "conv8", (80, 8, 8), 11),
        ("fitnet4", "conv11", (80, 8, 8), 17),
    ],
)
def test_hint_and_guided_layers_are_the_published_ones(
    design: str, middle: str, shape: tuple[int, int, int], depth: int
) -> None:
    with torch.device("meta"):
        network = build(StudentSpec(family="maxout", design=design), input_shape=CIFAR, classes=10)
        outputs = network(torch.empty(2, *CIFAR), (middle,))

    assert network.middle == middle
    assert outputs.maps[middle].shape == (2, *shape)
    assert outputs.embedding.shape == (2, 500)
    assert network.map_names == tuple(f"conv{number}" for number in range(1, depth + 1))


@pytest.mark.parametrize(
    ("depth", "width", "classes", "parameters"),
    [
        # Millions, with two digits: arXiv 1605.07146, table 4. Exact: widely used implementations.
        (40, 1, 10, 0.6e6),
        (40, 2, 10, 2.2e6),
        (40, 4, 10, 8.9e6),
        (40, 8, 10, 35.7e6),
        (28, 10, 10, 36.5e6),
        (28, 12, 10, 52.5e6),
        (22, 8, 10, 17.2e6),
        (16, 8, 10, 11.0e6),
        (16, 10, 10, 17.1e6),
        (16, 2, 100, 703_284),
        (40, 2, 100, 2_255_156),
    ],
)
def test_wide_residual_networks_have_their_published_size(
    depth: int, width: int, classes: int, parameters: float
) -> None:
    cost = cost_of(
        StudentSpec(family="wrn", depth=depth, width=width), input_shape=CIFAR, classes=classes
    ).parameters

    assert cost == parameters or round(cost / 1e6, 1) == parameters / 1e6


LITERATURE = {
    # Parameters with 100 classes: counted once in the models of https://github.com/HobbitLong/RepDistiller,
    # whose mdistiller has the same, and ResNet18.
    "resnet8": ({"family": "resnet", "depth": 8, "width": 1}, 83_892),
    "resnet14": ({"family": "resnet", "depth": 14, "width": 1}, 181_108),
    "resnet20": ({"family": "resnet", "depth": 20, "width": 1}, 278_324),
    "resnet32": ({"family": "resnet", "depth": 32, "width": 1}, 472_756),
    "resnet44": ({"family": "resnet", "depth": 44, "width": 1}, 667_188),
    "resnet56": ({"family": "resnet", "depth": 56, "width": 1}, 861_620),
    "resnet110": ({"family": "resnet", "depth": 110, "width": 1}, 1_736_564),
    "resnet8x4": ({"family": "resnet", "depth": 8, "width": 4}, 1_233_540),
    "resnet32x4": ({"family": "resnet", "depth": 32, "width": 4}, 7_433_860),
    "wrn-16-1": ({"family": "wrn", "depth": 16, "width": 1}, 180_916),
    "wrn-40-1": ({"family": "wrn", "depth": 40, "width": 1}, 569_780),
    "resnet50_small": ({"family": "resnet50_small"}, 23_705_252),
    "resnet18-small-stem": ({"family": "torchvision", "design": "resnet18", "stem": "small"}, 11_220_132),
    "resnet50-small-stem": ({"family": "torchvision", "design": "resnet50", "stem": "small"}, 23_705_252),
    "vgg8": ({"family": "vgg", "depth": 8, "width": 64}, 3_965_028),
    "vgg11": ({"family": "vgg", "depth": 11, "width": 64}, 9_277_284),
    "vgg13": ({"family": "vgg", "depth": 13, "width": 64}, 9_462_180),
    "vgg16": ({"family": "vgg", "depth": 16, "width": 64}, 14_774_436),
    "vgg19": ({"family": "vgg", "depth": 19, "width": 64}, 20_086_692),
    "mobilenetv2-w50": ({"family": "mobilenetv2", "width": 50}, 812_836),
    "shufflenetv1": ({"family": "shufflenetv1", "width": 100}, 949_258),
    "shufflenetv2": ({"family": "shufflenetv2", "width": 100}, 1_355_528),
}


@pytest.mark.parametrize("label", LITERATURE)
def test_the_networks_of_the_distillation_tables_have_their_parameters(label: str) -> None:
    keys, parameters = LITERATURE[label]
    spec = StudentSpec.model_validate(keys)

    assert spec.label() == label
    assert cost_of(spec, input_shape=CIFAR, classes=100).parameters == parameters


@pytest.mark.parametrize(("depth", "mega"), [(20, 40.82), (32, 69.13), (44, 97.44), (56, 125.75)])
def test_residual_networks_cost_their_published_macs(depth: int, mega: float) -> None:
    """Source: the table of CIFAR-100 in https://github.com/chenyaofo/pytorch-cifar-models (MAdds)."""
    spec = StudentSpec(family="resnet", depth=depth, width=1)

    assert round(cost_of(spec, input_shape=CIFAR, classes=100).macs / 1e6, 2) == mega


@pytest.mark.parametrize(
    ("keys", "mega"),
    [
        ({"family": "mobilenetv2", "width": 100}, 2.35),
        ({"family": "mobilenetv2", "width": 75}, 1.48),
        ({"family": "mobilenetv2", "width": 50}, 0.82),
        ({"family": "shufflenetv2", "width": 50}, 0.44),
        ({"family": "shufflenetv2", "width": 100}, 1.36),
        ({"family": "shufflenetv2", "width": 150}, 2.58),
        ({"family": "shufflenetv2", "width": 200}, 5.55),
    ],
)
def test_other_widths_have_their_published_parameters(keys: dict[str, object], mega: float) -> None:
    """Source: the table of CIFAR-100 in https://github.com/chenyaofo/pytorch-cifar-models.

    Its MobileNetV2 rounds channels to multiples of eight and its stems differ, by less than 0.02 million.
    """
    cost = cost_of(StudentSpec.model_validate(keys), input_shape=CIFAR, classes=100)

    assert cost.parameters / 1e6 == pytest.approx(mega, abs=0.02)


def test_shufflenets_cost_their_published_macs() -> None:
    """45.09 million with a stem of 3x3, in the same table; the distillation literature's is of 1x1."""
    spec = StudentSpec(family="shufflenetv2", width=100)
    small_stem = StudentSpec(family="torchvision", design="shufflenet_v2_x1_0", stem="small")
    one_place = 3 * 24 * 32 * 32

    macs = cost_of(spec, input_shape=CIFAR, classes=100).macs

    assert round((macs + 8 * one_place) / 1e6, 2) == 45.09
    assert cost_of(small_stem, input_shape=CIFAR, classes=100).macs == macs + 8 * one_place


@pytest.mark.parametrize(
    ("design", "side"),
    [
        ("resnet18", 224),
        ("resnet50", 224),
        ("mobilenet_v3_small", 224),
        ("shufflenet_v2_x0_5", 224),
        ("regnet_x_400mf", 224),
        ("googlenet", 224),
        ("vgg11", 224),
        ("vit_b_32", 224),
        ("swin_t", 224),
    ],
)
def test_torchvision_models_cost_what_torchvision_publishes(design: str, side: int) -> None:
    """Its tables of pretrained weights state parameters and giga-MACs, measured with another counter."""
    from torchvision import models

    published = models.get_model_weights(design).IMAGENET1K_V1.meta

    cost = cost_of(
        StudentSpec(family="torchvision", design=design), input_shape=(3, side, side), classes=1000
    )

    assert cost.parameters == published["num_params"]
    assert cost.macs / 1e9 == pytest.approx(published["_ops"], abs=6e-4)


def test_resnets_have_the_parameters_that_everyone_knows() -> None:
    for design, parameters in (("resnet18", 11_689_512), ("resnet50", 25_557_032)):
        spec = StudentSpec(family="torchvision", design=design)
        assert cost_of(spec, input_shape=(3, 224, 224), classes=1000).parameters == parameters
