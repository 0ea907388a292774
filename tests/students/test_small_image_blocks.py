"""The blocks of the small-image families, recomputed from their papers' figures in float64."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lpstudy.students import StudentSpec, build, shufflenetv1, shufflenetv2
from lpstudy.students.layers import shuffle
from lpstudy.students.mobilenetv2 import InvertedResidual
from lpstudy.students.resnet import Bottleneck

State = dict[str, Tensor]


def _random(block: nn.Module) -> State:
    """Random weights and statistics for a block, which is put into evaluation mode and float64."""
    generator = torch.Generator().manual_seed(0)
    block.eval().double()
    for name, value in block.state_dict().items():
        if value.is_floating_point():
            low = 0.5 if name.endswith("running_var") else -0.5
            value.copy_(low + torch.rand(value.shape, generator=generator, dtype=torch.float64))
    return {name: value.clone() for name, value in block.state_dict().items()}


def _conv_norm(state: State, name: str, x: Tensor, **options: int) -> Tensor:
    weight = state[f"{name}.conv.weight"]
    x = functional.conv2d(x, weight, padding=weight.shape[2] // 2, **options)
    return _norm(state, f"{name}.norm", x)


def _norm(state: State, name: str, x: Tensor) -> Tensor:
    scale, shift, mean, variance = (
        state[f"{name}.{key}"][:, None, None] for key in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def _images(channels: int) -> Tensor:
    return torch.randn(2, channels, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _numpy_shuffle(x: Tensor, groups: int) -> Tensor:
    order = np.arange(x.shape[1]).reshape(groups, -1).T.ravel()
    return x[:, order.tolist()]


def test_a_shuffle_transposes_groups_and_their_channels() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1).expand(2, 6, 2, 3)

    assert shuffle(x, 3)[0, :, 0, 0].tolist() == [0, 2, 4, 1, 3, 5]
    assert torch.equal(shuffle(x, 2), _numpy_shuffle(x, 2))


@pytest.mark.parametrize(("inputs", "stride"), [(8, 1), (8, 2), (4, 1)])
def test_a_bottleneck_has_its_stride_in_the_middle_and_its_last_relu_after_the_sum(
    inputs: int, stride: int
) -> None:
    block = Bottleneck(inputs, 8, stride)
    state, x = _random(block), _images(inputs)

    def conv(name: str, value: Tensor, **options: int) -> Tensor:
        return functional.conv2d(value, state[f"conv{name}.weight"], **options)

    hidden = _norm(state, "norm1", conv("1", x)).relu()
    hidden = _norm(state, "norm2", conv("2", hidden, stride=stride, padding=1)).relu()
    expected = _norm(state, "norm3", conv("3", hidden))
    is_projected = (inputs, stride) != (8, 1)
    expected += _conv_norm(state, "shortcut", x, stride=stride) if is_projected else x

    torch.testing.assert_close(block(x), expected.relu())


@pytest.mark.parametrize(("outputs", "stride"), [(4, 1), (4, 2), (6, 1)])
def test_an_inverted_residual_ends_without_a_relu(outputs: int, stride: int) -> None:
    """arXiv 1801.04381, figure 4 (d): a shortcut only where the shape stays."""
    block = InvertedResidual(4, outputs, expansion=3, stride=stride)
    state, x = _random(block), _images(4)

    hidden = _conv_norm(state, "expand", x).relu()
    hidden = _conv_norm(state, "depthwise", hidden, stride=stride, groups=12).relu()
    expected = _conv_norm(state, "project", hidden)
    expected += x if (outputs, stride) == (4, 1) else 0

    assert expected.min() < 0
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(
    ("inputs", "outputs", "groups", "stride"), [(24, 48, 1, 2), (36, 72, 3, 2), (36, 36, 3, 1)]
)
def test_a_unit_of_the_first_shufflenet_adds_or_stands_beside_the_averaged_input(
    inputs: int, outputs: int, groups: int, stride: int
) -> None:
    """arXiv 1707.01083, figure 2 (b) and (c); the first unit's 1x1 convolution is not grouped."""
    block = shufflenetv1.Unit(inputs, outputs, stride)
    state, x = _random(block), _images(inputs)

    hidden = _numpy_shuffle(_conv_norm(state, "conv1", x, groups=groups).relu(), groups)
    hidden = _conv_norm(state, "conv2", hidden, stride=stride, groups=hidden.shape[1]).relu()
    expected = _conv_norm(state, "conv3", hidden, groups=3)
    if stride == 1:
        expected = expected + x
    else:
        expected = torch.cat((expected, functional.avg_pool2d(x, 3, stride=2, padding=1)), dim=1)

    torch.testing.assert_close(block(x), expected.relu())


@pytest.mark.parametrize("stride", [1, 2])
def test_a_unit_of_the_second_shufflenet_shuffles_two_halves(stride: int) -> None:
    """arXiv 1807.11164, figure 3 (c) and (d): no ReLU follows a depthwise convolution."""
    block = shufflenetv2.Unit(8, 8, stride)
    state, x = _random(block), _images(8)

    def main(value: Tensor) -> Tensor:
        value = _conv_norm(state, "main.0", value).relu()
        value = _conv_norm(state, "main.1", value, stride=stride, groups=4)
        return _conv_norm(state, "main.2", value).relu()

    if stride == 1:
        halves = (x[:, :4], main(x[:, 4:]))
    else:
        first = _conv_norm(state, "shortcut.0", x, stride=2, groups=8)
        halves = (_conv_norm(state, "shortcut.1", first).relu(), main(x))

    torch.testing.assert_close(block(x), _numpy_shuffle(torch.cat(halves, dim=1), 2))


@pytest.mark.parametrize(
    ("side", "sides"), [(32, (32, 16, 8, 4, 4)), (64, (64, 32, 16, 8, 4)), (28, (28, 14, 7, 3, 3))]
)
def test_a_vgg_halves_the_side_before_later_groups(side: int, sides: tuple[int, ...]) -> None:
    spec = StudentSpec(family="vgg", depth=13, width=4)
    with torch.device("meta"):
        network = build(spec, input_shape=(3, side, side), classes=10)
        maps = network(torch.empty(2, 3, side, side), network.map_names).maps

    shapes = [tuple(value.shape[1:]) for value in maps.values()]
    assert shapes == [(c, s, s) for c, s in zip((4, 8, 16, 32, 32), sides, strict=True)]


LITERATURE_MAPS: dict[str, tuple[dict[str, object], list[tuple[int, int]]]] = {
    # Channels and side of each map at 32 pixels, as RepDistiller's models give them.
    "resnet50_small": ({}, [(256, 32), (512, 16), (1024, 8), (2048, 4)]),
    "mobilenetv2": ({"width": 50}, [(12, 16), (16, 8), (48, 4), (160, 2), (1280, 2)]),
    "shufflenetv1": ({"width": 100}, [(240, 16), (480, 8), (960, 4)]),
    "shufflenetv2": ({"width": 100}, [(116, 16), (232, 8), (464, 4), (1024, 4)]),
}


@pytest.mark.parametrize("family", LITERATURE_MAPS)
def test_maps_are_those_of_the_literature_and_the_last_one_averages_to_the_embedding(family: str) -> None:
    size, maps = LITERATURE_MAPS[family]
    spec = StudentSpec.model_validate({"family": family, **size})
    network = build(spec, input_shape=(3, 32, 32), classes=10).eval()
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    outputs = network(images, network.map_names)

    assert [value.shape[1:3] for value in outputs.maps.values()] == maps
    assert network.middle == "group2"
    torch.testing.assert_close(outputs.embedding, outputs.maps[network.map_names[-1]].mean((2, 3)))


@pytest.mark.parametrize("family", ["vgg", "mobilenetv2"])
def test_convolutions_and_the_classifier_start_as_in_the_literature(family: str) -> None:
    size = {"depth": 8, "width": 64} if family == "vgg" else {"width": 100}
    network = build(
        StudentSpec.model_validate({"family": family, **size}), input_shape=(3, 32, 32), classes=100
    )

    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5_000:
            expected = 2 / (module.kernel_size[0] ** 2 * module.out_channels)
            assert module.weight.var().item() == pytest.approx(expected, rel=0.1)
            assert module.bias is None or not module.bias.any()
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.05)
            assert not module.bias.any()
