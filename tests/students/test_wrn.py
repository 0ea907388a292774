import pytest
import torch
from torch.nn import functional

from lpstudy.students import StudentSpec, build
from lpstudy.students.wrn import ResidualBlock


@pytest.mark.parametrize(("outputs", "stride"), [(4, 1), (6, 1), (6, 2)])
def test_a_block_is_pre_activated_and_its_projection_too(outputs: int, stride: int) -> None:
    """arXiv 1605.07146, figure 1: as in the authors' code, a projection sees the activated input."""
    generator = torch.Generator().manual_seed(0)
    block = ResidualBlock(4, outputs, stride).eval()
    state = {name: torch.rand(value.shape, generator=generator) for name, value in block.state_dict().items()}
    block.load_state_dict(state)
    x = torch.randn(2, 4, 6, 6, generator=generator)

    def active(value: torch.Tensor, norm: str) -> torch.Tensor:
        mean, variance = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        scale = state[f"{norm}.weight"] / (variance + 1e-5).sqrt()
        normal = (value - mean[:, None, None]) * scale[:, None, None] + state[f"{norm}.bias"][:, None, None]
        return normal.clamp(min=0)

    first = active(x, "norm1")
    inner = functional.conv2d(first, state["conv1.weight"], stride=stride, padding=1)
    expected = functional.conv2d(active(inner, "norm2"), state["conv2.weight"], padding=1)
    expected += functional.conv2d(first, state["shortcut.weight"], stride=stride) if outputs == 6 else x

    torch.testing.assert_close(block(x), expected)


def test_groups_halve_the_side_and_double_the_channels() -> None:
    network = build(StudentSpec(family="wrn", depth=16, width=2), input_shape=(3, 32, 32), classes=10)

    outputs = network(torch.zeros(2, 3, 32, 32), network.map_names)

    shapes = [tuple(outputs.maps[name].shape[1:]) for name in network.map_names]
    assert shapes == [(32, 32, 32), (64, 16, 16), (128, 8, 8)]
    assert network.middle == "group2"
    assert outputs.embedding.min() >= 0
