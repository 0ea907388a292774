import pytest
import torch
from torch import nn
from torch.nn import functional

from lpstudy.students import StudentSpec, build
from lpstudy.students.resnet import BasicBlock

NORM = ("weight", "bias", "running_mean", "running_var")


@pytest.mark.parametrize(("outputs", "stride"), [(4, 1), (6, 1), (6, 2), (4, 2)])
def test_a_block_adds_before_its_last_relu(outputs: int, stride: int) -> None:
    """arXiv 1512.03385, figure 2 with option B: a projection has no ReLU of its own."""
    generator = torch.Generator().manual_seed(0)
    block = BasicBlock(4, outputs, stride).eval().double()
    state = {name: torch.rand(v.shape, generator=generator) for name, v in block.state_dict().items()}
    block.load_state_dict(state)
    state = {name: value.double() for name, value in state.items()}
    x = torch.randn(2, 4, 6, 6, generator=generator, dtype=torch.float64)

    def normal(value: torch.Tensor, norm: str) -> torch.Tensor:
        weight, bias, mean, variance = (state[f"{norm}.{name}"][:, None, None] for name in NORM)
        return (value - mean) / (variance + 1e-5).sqrt() * weight + bias

    inner = functional.conv2d(x, state["conv1.weight"], stride=stride, padding=1)
    inner = normal(inner, "norm1").clamp(min=0)
    expected = normal(functional.conv2d(inner, state["conv2.weight"], padding=1), "norm2")
    if (outputs, stride) == (4, 1):
        expected += x
    else:
        expected += normal(
            functional.conv2d(x, state["shortcut.conv.weight"], stride=stride), "shortcut.norm"
        )

    torch.testing.assert_close(block(x), expected.clamp(min=0))


@pytest.mark.parametrize(
    ("width", "stem", "channels"), [(1, 16, (16, 32, 64)), (2, 16, (32, 64, 128)), (4, 32, (64, 128, 256))]
)
def test_the_filters_are_those_of_the_literature(
    width: int, stem: int, channels: tuple[int, int, int]
) -> None:
    """x2 is 16, 32-64-128 in https://github.com/DefangChen/SimKD; x4 is 32, 64-128-256 in RepDistiller."""
    spec = StudentSpec(family="resnet", depth=14, width=width)
    with torch.device("meta"):
        network = build(spec, input_shape=(3, 32, 32), classes=10)
        outputs = network(torch.empty(2, 3, 32, 32), network.map_names)

    shapes = [tuple(value.shape[1:]) for value in outputs.maps.values()]
    assert shapes == [(c, s, s) for c, s in zip(channels, (32, 16, 8), strict=True)]
    assert network.get_submodule("layers.stem.conv").weight.shape == (stem, 3, 3, 3)
    assert outputs.embedding.shape == (2, 16 * width * 4)
    assert network.middle == "group2"


def test_the_embedding_is_the_mean_of_the_last_map_after_its_relu() -> None:
    network = build(StudentSpec(family="resnet", depth=8, width=1), input_shape=(1, 28, 28), classes=10)

    outputs = network(torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0)), ("group3",))

    assert outputs.maps["group3"].min() == 0
    torch.testing.assert_close(outputs.embedding, outputs.maps["group3"].mean((2, 3)))


def test_convolutions_start_with_the_variance_of_their_outputs() -> None:
    network = build(StudentSpec(family="resnet", depth=32, width=4), input_shape=(3, 32, 32), classes=10)

    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 20_000:
            expected = 2 / (module.kernel_size[0] ** 2 * module.out_channels)
            assert module.weight.var().item() == pytest.approx(expected, rel=0.05)
