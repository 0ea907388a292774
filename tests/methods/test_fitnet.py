import math
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from method_steps import step_on
from torch import Tensor

from lpstudy.methods import StepContext, TrainingSamples
from lpstudy.methods.fitnet import FitNet, Regressor, hint_loss
from lpstudy.methods.method import Distillation
from lpstudy.outputs import Network, Outputs
from lpstudy.space import Choices, Range, find_study_file, read_study_file

Images = Callable[[int], Tensor]
StepAt = Callable[[Distillation, float], StepContext]
SAMPLES = TrainingSamples(torch.arange(4) % 3)


def with_maps(**maps: Tensor) -> Outputs:
    return Outputs(torch.zeros(2, 3), torch.zeros(2, 1), maps)


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_regressor_of_fitnet_1_has_the_published_24_600_parameters() -> None:
    # Guided layer 6 of FitNet 1 after its pool, hint layer 2 of the teacher after its pool.
    student, teacher = with_maps(conv6=torch.zeros(2, 32, 8, 8)), with_maps(conv2=torch.zeros(2, 192, 7, 7))
    regressor = FitNet(guided="conv6", hint="conv2").auxiliary(student, teacher, SAMPLES)
    assert parameters(regressor) == 24_576
    assert regressor(torch.zeros(2, 32, 8, 8)).shape == (2, 192, 7, 7)
    # The fully connected one that the paper avoids: 19.3 M.
    assert round(32 * 8 * 8 * 192 * 7 * 7 / 1e6, 1) == 19.3


@pytest.mark.parametrize(
    ("guided", "hint", "kernel"),
    [
        ((4, 6, 6), (7, 6, 6), (1, 1)),
        ((4, 9, 6), (7, 4, 5), (6, 2)),
        ((4, 3, 8), (7, 5, 6), (1, 3)),
    ],
)
def test_kernel_covers_the_difference_in_size(
    guided: tuple[int, int, int], hint: tuple[int, int, int], kernel: tuple[int, int]
) -> None:
    regressor = Regressor(guided, hint)
    assert regressor.convolution.weight.shape == (7, 4, *kernel)
    predicted = regressor(torch.zeros(2, *guided))
    assert predicted.shape[2:] == (min(guided[1], hint[1]), min(guided[2], hint[2]))
    assert float(hint_loss(predicted.detach(), torch.ones(2, *hint))) == pytest.approx(0.5)


def test_hint_loss_equals_a_convolution_written_as_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    guided = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    hint = torch.randn(2, 5, 3, 3, generator=generator, dtype=torch.float64)
    regressor = Regressor((3, 4, 4), (5, 3, 3)).double()
    kernel, maps, total = regressor.convolution.weight.detach().numpy(), guided.numpy(), 0.0
    for sample, channel, row, column in np.ndindex(2, 5, 3, 3):
        window = maps[sample, :, row : row + 2, column : column + 2]
        total += 0.5 * ((kernel[channel] * window).sum() - hint[sample, channel, row, column].item()) ** 2
    expected = total / hint.numel()
    assert float(hint_loss(regressor(guided), hint).detach()) == pytest.approx(expected, rel=1e-12)


def test_gradient_of_the_hint_loss_never_reaches_the_teacher() -> None:
    predicted, hint = torch.ones(1, 2, 3, 3, requires_grad=True), torch.zeros(1, 2, 3, 3, requires_grad=True)
    hint_loss(predicted, hint).backward()
    assert predicted.grad is not None
    assert hint.grad is None


def test_a_larger_hint_is_averaged_over_equal_windows() -> None:
    hint = torch.arange(16.0).reshape(1, 1, 4, 4)
    averaged = torch.tensor([[2.5, 4.5], [10.5, 12.5]]).reshape(1, 1, 2, 2)
    assert hint_loss(averaged, hint) == 0
    assert hint_loss(averaged + 2, hint) == pytest.approx(2)


def test_first_stage_trains_the_regressor_and_the_student_up_to_the_guided_layer_alone(
    student: Network, teacher: Network, images: Images, labels: Images, step_at: StepAt
) -> None:
    method = FitNet(hint_fraction=0.5, hint_weight=3.0).resolved(student, teacher)
    mine = student(images(4), method.student_maps())
    theirs = teacher(images(4), method.teacher_needs().maps)
    regressor = method.auxiliary(mine, theirs, SAMPLES)
    loss = method.loss(step_on(step_at(method, 0.49), mine, theirs, labels(4), regressor))
    assert loss.parts.keys() == {"hint"}
    assert float(loss.total.detach()) == pytest.approx(3 * float(loss.parts["hint"]))
    loss.total.backward()
    reached = {name for name, parameter in student.named_parameters() if parameter.grad is not None}
    assert reached == {"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"}
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in regressor.parameters())


def test_second_stage_is_cross_entropy_and_soft_targets(
    student: Network, teacher: Network, images: Images, labels: Images, step_at: StepAt
) -> None:
    method = FitNet(hint_fraction=0.5, kd_weight=4.0).resolved(student, teacher)
    mine, theirs = student(images(4), ("conv2",)), teacher(images(4), ("conv2",))
    regressor = method.auxiliary(mine, theirs, SAMPLES)
    loss = method.loss(step_on(step_at(method, 0.75), mine, theirs, labels(4), regressor))
    assert loss.parts.keys() == {"ce", "kd"}
    assert float(loss.total.detach()) == pytest.approx(float(loss.parts["ce"] + 2.5 * loss.parts["kd"]))


def test_joint_adds_the_weighted_hint_from_the_start(
    student: Network, teacher: Network, images: Images, labels: Images, step_at: StepAt
) -> None:
    method = FitNet(mode="joint", hint_weight=7.0, kd_weight=0.0).resolved(student, teacher)
    mine, theirs = student(images(4), ("conv2",)), teacher(images(4), ("conv2",))
    loss = method.loss(
        step_on(step_at(method, 0.0), mine, theirs, labels(4), method.auxiliary(mine, theirs, SAMPLES))
    )
    assert float(loss.total.detach()) == pytest.approx(float(loss.parts["ce"] + 7 * loss.parts["hint"]))


@pytest.mark.parametrize(
    ("mode", "progress", "weight"),
    [
        ("two_stage", 0.2, 4.0),
        ("two_stage", 0.6, 2.5),
        ("two_stage", 1.0, 1.0),
        ("joint", 0.0, 4.0),
        ("joint", 0.5, 2.5),
        ("joint", 1.0, 1.0),
    ],
)
def test_soft_target_weight_goes_linearly_from_4_to_1(mode: str, progress: float, weight: float) -> None:
    given = {"mode": mode, "hint_fraction": 0.2, "kd_weight": 4.0}
    method = FitNet.model_validate(given)
    assert method.weights(progress)["kd"] == pytest.approx(weight)


@pytest.mark.parametrize("study", ["cifar10", "cifar100", "digits", "imagenet", "mnist", "smoke"])
def test_soft_target_weight_never_rises_in_any_draw_of_a_study(study: str) -> None:
    ranges = read_study_file(find_study_file(study)).methods["fitnet"]
    generator = random.Random(0)
    for _ in range(200):
        drawn = {key: draw(value, generator) for key, value in ranges.items()}
        method = FitNet.model_validate(drawn)
        begin = method.hint_fraction if method.mode == "two_stage" else 0.0
        weights = [method.weights(begin + (1 - begin) * n / 20)["kd"] for n in range(21)]
        assert weights == sorted(weights, reverse=True)
        assert weights[-1] == pytest.approx(weights[0] / 4)


def draw(value: object, generator: random.Random) -> object:
    match value:
        case Range(log=True):
            return math.exp(generator.uniform(math.log(value.low), math.log(value.high)))
        case Range():
            return generator.uniform(value.low, value.high)
        case Choices():
            return generator.choice(value.choices)
        case fixed:
            return fixed


def test_middle_layers_are_used_where_none_are_named_and_named_ones_are_checked(
    student: Network, teacher: Network
) -> None:
    assert FitNet().resolved(student, teacher).student_maps() == ("conv2",)
    assert FitNet().resolved(student, teacher).teacher_needs().maps == ("conv2",)
    assert FitNet(hint="conv1").resolved(student, teacher).teacher_needs().maps == ("conv1",)
    with pytest.raises(
        ValueError, match=r"the student has no layer 'conv9'; it has embedding, conv1, conv2, conv3"
    ):
        FitNet(guided="conv9").resolved(student, teacher)
    with pytest.raises(
        ValueError, match=r"needs a map of the teacher, one of conv1, conv2, conv3, not 'embedding'"
    ):
        FitNet(hint="embedding").resolved(student, teacher)


AT_A = FitNet(hint="a", guided="a")


def test_what_is_missing_is_named(labels: Images, step_at: StepAt) -> None:
    maps = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match="the loss needs its auxiliary module but there is none"):
        AT_A.loss(step_on(step_at(AT_A, 0.0), with_maps(a=maps), with_maps(a=maps), labels(2)))
    with pytest.raises(ValueError, match=r"no name: call method\.resolved\(student, teacher\) first"):
        FitNet().auxiliary(with_maps(a=maps), with_maps(a=maps), SAMPLES)
    with pytest.raises(ValueError, match=r"no map 'c', only \['a'\]"):
        FitNet(guided="c", hint="a").auxiliary(with_maps(a=maps), with_maps(a=maps), SAMPLES)
    with pytest.raises(ValueError, match=r"\(m, channels, height, width\) but got \(2, 3\)"):
        AT_A.auxiliary(with_maps(a=torch.zeros(2, 3)), with_maps(a=maps), SAMPLES)


def test_regressor_can_be_counted_without_memory() -> None:
    with torch.device("meta"):
        student, teacher = with_maps(a=torch.zeros(2, 512, 64, 64)), with_maps(a=torch.zeros(2, 512, 4, 4))
    regressor = AT_A.auxiliary(student, teacher, SAMPLES)
    assert parameters(regressor) == 512 * 512 * 61 * 61
    assert all(parameter.is_meta for parameter in regressor.parameters())
