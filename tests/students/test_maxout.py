import math

import numpy as np
import pytest
import torch

from lpstudy.students import StudentSpec, build
from lpstudy.students.maxout import MaxoutNet, maxout


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maxout_is_the_larger_piece_of_each_unit(layout: torch.memory_format) -> None:
    x = torch.randn(4, 2 * 5, 3, 2, generator=torch.Generator().manual_seed(0)).contiguous(
        memory_format=layout
    )

    expected = x.numpy().reshape(4, 2, 5, 3, 2).max(axis=1)

    np.testing.assert_array_equal(maxout(x).numpy(), expected)
    assert maxout(x).is_contiguous(memory_format=layout)


def test_gradient_is_that_of_torchs_maximum_where_nothing_ties() -> None:
    x = torch.randn(4, 2 * 5, 3, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    factor = torch.randn(4, 5, 3, 2, generator=torch.Generator().manual_seed(1))

    (gradient,) = torch.autograd.grad((maxout(x) * factor).sum(), x)

    (expected,) = torch.autograd.grad((torch.maximum(x[:, :5], x[:, 5:]) * factor).sum(), x)
    assert torch.equal(gradient, expected)


def test_keeps_a_bool_for_each_unit_and_neither_piece() -> None:
    tensors = []
    x = torch.randn(4, 2 * 5, 3, 2, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: tensors.append(tensor) or tensor, lambda t: t
    ):
        maxout(x)
    assert [(tensor.dtype, tuple(tensor.shape)) for tensor in tensors] == [(torch.bool, (4, 5, 3, 2))]


def test_a_value_that_is_no_number_stays_one() -> None:
    assert maxout(torch.tensor([[math.nan, 1.0], [1.0, math.nan]])).isnan().all()


def test_only_the_largest_piece_receives_the_gradient() -> None:
    x = torch.tensor([[1.0, 5.0, 2.0, -3.0]], requires_grad=True)  # units (1, 2) and (5, -3)

    (gradient,) = torch.autograd.grad(maxout(x).sum(), x)

    assert gradient.tolist() == [[0.0, 1.0, 1.0, 0.0]]


def test_the_first_of_tied_pieces_has_the_gradient() -> None:
    x = torch.tensor([[2.0, 2.0]], requires_grad=True)

    (gradient,) = torch.autograd.grad(maxout(x).sum(), x)

    assert gradient.tolist() == [[1.0, 0.0]]


def test_channels_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="even number of channels but got 5"):
        maxout(torch.zeros(1, 5))


@pytest.mark.parametrize(
    ("depth", "channels"),
    [
        (3, [8, 16, 24]),
        (7, [8, 8, 8, 16, 16, 24, 24]),
        (8, [8, 8, 8, 16, 16, 16, 24, 24]),
        (9, [8, 8, 8, 16, 16, 16, 24, 24, 24]),
    ],
)
def test_depth_is_split_evenly_and_width_grows_by_group(depth: int, channels: list[int]) -> None:
    network = build(StudentSpec(family="maxout", depth=depth, width=8), input_shape=(3, 16, 16), classes=4)

    maps = network(torch.zeros(1, 3, 16, 16), network.map_names).maps

    assert [maps[name].shape[1] for name in network.map_names] == channels
    assert network.middle == f"conv{channels.count(8) + channels.count(16)}"


def test_linear_pieces_have_no_bias() -> None:
    """As in the published counts; so the features of an image scale with it."""
    network = build(StudentSpec(family="maxout", design="fitnet1"), input_shape=(3, 32, 32), classes=4)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    torch.testing.assert_close(network(2 * images).embedding, 2 * network(images).embedding)


def test_the_second_moment_of_features_neither_vanishes_nor_grows_with_depth() -> None:
    """A deep maxout net without normalisation trains only if its scale survives 17 layers."""
    network = build(StudentSpec(family="maxout", design="fitnet4"), input_shape=(3, 32, 32), classes=10)
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    maps = network(images, network.map_names).maps

    assert isinstance(network, MaxoutNet)
    rms = [maps[name].square().mean().sqrt().item() for name in network.map_names]
    assert min(rms) > 0.3
    assert max(rms) < 10
