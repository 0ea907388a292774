import numpy as np
import pytest
import torch
from method_steps import step_on
from numpy.typing import NDArray
from torch import Tensor

from lpstudy.methods import StepContext, TrainingSamples
from lpstudy.methods.resolutions import resolutions
from lpstudy.methods.reviewkd import Fusion, ReviewKD, hierarchical_context_loss
from lpstudy.outputs import Network, Outputs
from lpstudy.students import StudentSpec, build, skeleton

Array = NDArray[np.float64]


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def averaged(maps: Array, side: int) -> Array:
    """Means over equal windows of maps whose sides are multiples of that number."""
    m, channels, height, width = maps.shape
    windows = maps.reshape(m, channels, side, height // side, side, width // side)
    return np.asarray(windows.mean(axis=(3, 5)))


@pytest.mark.parametrize(
    ("size", "sides"), [((8, 8), (4, 2, 1)), ((4, 4), (2, 1)), ((2, 4), (1,)), ((1, 1), ())]
)
def test_levels_are_compared_whole_and_averaged_to_smaller_sides(
    size: tuple[int, int], sides: tuple[int, ...]
) -> None:
    mine, theirs = random(2, 3, *size, seed=0), random(2, 3, *size, seed=1)
    weights, total = 1.0, ((mine - theirs).numpy() ** 2).mean()
    for number, side in enumerate(sides, start=1):
        difference = averaged(mine.numpy(), side) - averaged(theirs.numpy(), side)
        total += 0.5**number * (difference**2).mean()
        weights += 0.5**number
    assert float(hierarchical_context_loss(mine, theirs)) == pytest.approx(total / weights, rel=1e-12)


def normalised(values: Array, norm: torch.nn.Module) -> Array:
    mean, variance = values.mean(axis=(0, 2, 3)), values.var(axis=(0, 2, 3))
    weight, bias = (parameter.detach().numpy() for parameter in norm.parameters())
    scaled = (values - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
    return np.asarray(scaled * weight[:, None, None] + bias[:, None, None])


def pointwise(values: Array, convolution: torch.nn.Conv2d) -> Array:
    mixed = np.einsum("oi,mihw->mohw", convolution.weight.detach().numpy()[:, :, 0, 0], values)
    bias = 0 if convolution.bias is None else convolution.bias.detach().numpy()[:, None, None]
    return np.asarray(mixed + bias)


def convolved(values: Array, kernel: Array) -> Array:
    padded = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.asarray(np.einsum("oikl,mihwkl->mohw", kernel, windows))


def nearest(values: Array, rows: int, columns: int) -> Array:
    row, column = (
        np.arange(new) * old // new for new, old in zip((rows, columns), values.shape[2:], strict=True)
    )
    return values[:, :, row][:, :, :, column]


def test_a_level_is_fused_with_the_deeper_ones_as_in_numpy() -> None:
    torch.manual_seed(0)
    fusion = Fusion(3, 4, 5, fuses=True).double()
    with torch.no_grad():
        for parameter in (*fusion.reduce_norm.parameters(), *fusion.expand_norm.parameters()):
            parameter.copy_(random(len(parameter), seed=9))
    level, deeper = random(2, 3, 6, 4, seed=1), random(2, 4, 3, 2, seed=2)
    output, hidden = fusion(level, deeper, (3, 4))
    own = normalised(pointwise(level.numpy(), fusion.reduce), fusion.reduce_norm)
    up = nearest(deeper.numpy(), 6, 4)
    assert fusion.attend is not None
    attention = 1 / (1 + np.exp(-pointwise(np.concatenate([own, up], axis=1), fusion.attend)))
    expected = nearest(own * attention[:, :1] + up * attention[:, 1:], 3, 4)
    np.testing.assert_allclose(hidden.detach().numpy(), expected, rtol=1e-10)
    expected = normalised(convolved(expected, fusion.expand.weight.detach().numpy()), fusion.expand_norm)
    np.testing.assert_allclose(output.detach().numpy(), expected, rtol=1e-10)


def test_the_loss_sums_the_levels_from_the_embedding_up() -> None:
    method = ReviewKD(layers=("a", "b"), teacher_layers=("x", "y"), weight=3.0)
    student = Outputs(
        random(2, 3, seed=0),
        random(2, 6, seed=1),
        {"a": random(2, 4, 8, 8, seed=2), "b": random(2, 5, 4, 4, seed=3)},
    )
    teacher = Outputs(
        random(2, 3, seed=4),
        random(2, 9, seed=5),
        {"x": random(2, 7, 6, 6, seed=6), "y": random(2, 8, 4, 4, seed=7)},
    )
    torch.manual_seed(1)
    module = method.auxiliary(student, teacher, TrainingSamples(torch.arange(2))).double()
    context = StepContext(method.weights(0.0), lambda rows: rows, 3)
    loss = method.loss(step_on(context, student, teacher, torch.arange(2), module))
    a, b, embedding = module.children()
    output, hidden = embedding(student.embedding[:, :, None, None], None, (1, 1))
    total = hierarchical_context_loss(output, teacher.embedding[:, :, None, None])
    output, hidden = b(student.maps["b"], hidden, (4, 4))
    total += hierarchical_context_loss(output, teacher.maps["y"])
    output, hidden = a(student.maps["a"], hidden, (6, 6))
    total += hierarchical_context_loss(output, teacher.maps["x"])
    assert hidden.shape == (2, 6, 6, 6)
    assert float(loss.parts["review"]) == pytest.approx(float(total.detach()), rel=1e-12)
    assert float(loss.total.detach()) == pytest.approx(float(loss.parts["ce"] + 3 * total.detach()))


DIGITS, CIFAR = (1, 8, 8), (3, 32, 32)


@pytest.mark.parametrize(
    ("keys", "shape", "names"),
    [
        ({"family": "wrn", "depth": 10, "width": 1}, CIFAR, ("group1", "group2", "group3")),
        ({"family": "resnet", "depth": 8, "width": 1}, CIFAR, ("group1", "group2", "group3")),
        ({"family": "convnet", "depth": 6, "width": 4}, CIFAR, ("conv2", "conv4", "conv6")),
        ({"family": "maxout", "design": "fitnet1"}, CIFAR, ("conv2", "conv5", "conv8")),
        ({"family": "convnet", "depth": 2, "width": 4}, DIGITS, ("conv1", "conv2")),
        (
            {"family": "torchvision", "design": "resnet18"},
            (3, 64, 64),
            ("conv1", "layer1", "layer2", "layer3", "layer4"),
        ),
    ],
)
def test_levels_are_the_last_stages_of_each_resolution(
    keys: dict[str, object], shape: tuple[int, int, int], names: tuple[str, ...]
) -> None:
    spec = StudentSpec.model_validate(keys)
    assert resolutions(skeleton(spec, input_shape=shape, classes=3)) == names
    network = build(spec, input_shape=shape, classes=3)
    assert resolutions(network) == names
    assert network.training


def test_levels_are_equally_many_from_the_deepest_on() -> None:
    student = build(StudentSpec(family="convnet", depth=2, width=4), input_shape=CIFAR, classes=3)
    teacher = build(StudentSpec(family="wrn", depth=10, width=1), input_shape=CIFAR, classes=3)
    method = ReviewKD().resolved(student, teacher)
    assert (method.layers, method.teacher_layers) == (("conv1", "conv2"), ("group2", "group3"))
    assert method.teacher_needs().embedding
    method = ReviewKD(layers=("conv2",)).resolved(student, teacher)
    assert method.teacher_layers == ("group3",)
    with pytest.raises(ValueError, match="layers: must be as many as teacher_layers, but are 2 and 3"):
        ReviewKD(teacher_layers=("group1", "group2", "group3")).resolved(student, teacher)
    with pytest.raises(ValueError, match="layers: must be as many as teacher_layers, but are 1 and 2"):
        ReviewKD(layers=("conv2",), teacher_layers=("group1", "group2")).resolved(student, teacher)


def test_layers_must_be_named_for_a_network_of_unknown_images(student: Network, teacher: Network) -> None:
    student.input_shape = None
    with pytest.raises(ValueError, match="layers: must be named for a network without an input_shape"):
        ReviewKD().resolved(student, teacher)
    ReviewKD(layers=("conv1",), teacher_layers=("conv1",)).resolved(student, teacher)
