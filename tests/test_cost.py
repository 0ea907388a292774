import pytest
import torch
from torch import nn

from lpstudy.cost import Cost, cost, cost_of
from lpstudy.students import StudentSpec, build

CONVNET = StudentSpec(family="convnet", depth=3, width=8)


def test_flops_are_twice_the_macs() -> None:
    assert Cost(parameters=1, macs=21).flops == 42


def test_equals_the_analytic_count() -> None:
    """3x3 convolutions at 8x8, 4x4 and 2x2 pixels, batch normalisations, and a classifier of 32 -> 10."""
    macs = 9 * (1 * 8 * 8 * 8 + 8 * 16 * 4 * 4 + 16 * 32 * 2 * 2) + 32 * 10
    convolutions = 9 * (1 * 8 + 8 * 16 + 16 * 32)
    normalisations = 2 * (8 + 16 + 32)

    cost = cost_of(CONVNET, input_shape=(1, 8, 8), classes=10)

    assert cost == Cost(parameters=convolutions + normalisations + 32 * 10 + 10, macs=macs)


@pytest.mark.parametrize(
    ("model", "macs"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=True), 6 * 4 * 9 * 5 * 3),
        (nn.Conv2d(4, 8, 3, groups=4), 8 * 1 * 9 * 8 * 4),
        (nn.Sequential(nn.Flatten(), nn.Linear(4 * 10 * 6, 7)), 240 * 7),
        (nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)), 0),
        (nn.Identity(), 0),
    ],
)
def test_counts_convolutions_and_matrix_products_alone(model: nn.Module, macs: int) -> None:
    assert cost(model, (4, 10, 6)).macs == macs


def test_is_the_same_on_the_meta_device() -> None:
    spec = StudentSpec(family="maxout", depth=4, width=6)
    network = build(spec, input_shape=(1, 28, 28), classes=10)

    assert cost(network, (1, 28, 28)) == cost_of(spec, input_shape=(1, 28, 28), classes=10)


def test_attention_is_counted_whole() -> None:
    """A transformer layer without its fused operator: projections, attention and two linear layers."""
    layer = nn.TransformerEncoderLayer(16, nhead=2, dim_feedforward=32, batch_first=True)
    tokens = 5
    model = nn.Sequential(nn.Flatten(2), layer)

    macs = tokens * 16 * (3 * 16 + 16) + 2 * tokens * tokens * 16 + 2 * tokens * 16 * 32

    assert cost(model, (tokens, 4, 4)).macs == macs
    assert torch.backends.mha.get_fastpath_enabled()


def test_shared_weights_count_once() -> None:
    layer = nn.Conv2d(3, 3, 1, bias=False)

    assert cost(nn.Sequential(layer, layer), (3, 2, 2)) == Cost(parameters=9, macs=2 * 36)


def test_leaves_the_network_as_it_was() -> None:
    network = build(CONVNET, input_shape=(1, 8, 8), classes=10).train()
    network.get_submodule("layers.conv2").eval()
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}

    cost(network, (1, 8, 8))

    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_leaves_the_network_as_it_was_when_the_images_do_not_fit() -> None:
    network = build(CONVNET, input_shape=(1, 8, 8), classes=10).train()

    with pytest.raises(RuntimeError):
        cost(network, (3, 8, 8))

    assert all(module.training for module in network.modules())
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_design_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 4x4 pixels"):
        cost_of(CONVNET, input_shape=(1, 2, 2), classes=10)


def test_a_great_network_is_counted_without_its_weights() -> None:
    """A network of 36 million weights, which are never allocated."""
    spec = StudentSpec(family="wrn", depth=28, width=10)

    assert cost_of(spec, input_shape=(3, 32, 32), classes=10).parameters == 36_479_194
    assert torch.get_default_device().type == "cpu"
