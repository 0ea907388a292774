import numpy as np
import pytest
import torch
from method_steps import step_on
from torch import Tensor

from lpstudy.methods import StepContext, TrainingSamples
from lpstudy.methods.simkd import SimKD, projection_loss
from lpstudy.outputs import PROJECTED, Network, Outputs
from lpstudy.testing import make_case


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def averaged(maps: Tensor, rows: int, columns: int) -> np.ndarray:
    """Means over equal windows of maps whose sides are multiples of those numbers."""
    m, channels, height, width = maps.shape
    windows = maps.numpy().reshape(m, channels, rows, height // rows, columns, width // columns)
    return windows.mean(axis=(3, 5))


@pytest.mark.parametrize(
    ("mine", "theirs", "size"),
    [((4, 4), (4, 4), (4, 4)), ((2, 4), (4, 8), (2, 4)), ((6, 6), (3, 3), (3, 3)), ((2, 6), (4, 3), (2, 3))],
)
def test_equals_the_mean_squared_difference_at_the_smaller_size_in_numpy(
    mine: tuple[int, int], theirs: tuple[int, int], size: tuple[int, int]
) -> None:
    projected, target = random(3, 5, *mine, seed=0), random(3, 5, *theirs, seed=1)
    expected = ((averaged(projected, *size) - averaged(target, *size)) ** 2).mean()
    assert float(projection_loss(projected, target)) == pytest.approx(float(expected), rel=1e-12)


def test_gradient_is_that_of_finite_differences_and_misses_the_teacher() -> None:
    target = random(2, 3, 2, 2, seed=1).requires_grad_()
    projected = random(2, 3, 4, 4, seed=0).requires_grad_()
    assert torch.autograd.gradcheck(lambda maps: projection_loss(maps, target), (projected,))
    projection_loss(projected, target).backward()
    assert target.grad is None


def test_labels_have_no_weight_by_default_and_soft_targets_may_be_added(
    student: Network, teacher: Network
) -> None:
    for method, ce, kd in ((SimKD(weight=2.0), 0.0, 0.0), (SimKD(ce_weight=0.5, kd_weight=3.0), 0.5, 3.0)):
        case = make_case(method, student, teacher)
        loss = case.loss(6, 0.0, None)
        parts = loss.parts
        expected = ce * parts["ce"] + method.weight * parts["projection"]
        expected += kd * parts["kd"] if kd else 0
        assert float(loss.total.detach()) == pytest.approx(float(expected))
        assert case.student.pooled == PROJECTED


def test_averages_alone_may_be_compared() -> None:
    method = SimKD(teacher_layer="embedding")
    assert method.teacher_needs().embedding
    assert method.teacher_needs().maps == ()
    projected, target = random(3, 5, 2, 2, seed=0), random(3, 5, seed=1)
    student = Outputs(torch.zeros(3, 4), projected.mean(dim=(2, 3)), {PROJECTED: projected})
    context = StepContext(method.weights(0.0), lambda rows: rows, 4)
    step = step_on(context, student, Outputs(torch.zeros(3, 4), target), torch.arange(3))
    expected = ((projected.mean(dim=(2, 3)) - target) ** 2).mean()
    assert float(method.loss(step).parts["projection"]) == pytest.approx(float(expected))


def test_a_map_of_other_channels_is_refused() -> None:
    student = Outputs(torch.zeros(2, 4), torch.zeros(2, 5), {PROJECTED: torch.zeros(2, 5, 2, 2)})
    teacher = Outputs(torch.zeros(2, 4), torch.zeros(2, 5), {"conv1": torch.zeros(2, 3, 2, 2)})
    with pytest.raises(ValueError, match=r"teacher_layer: needs the 5 channels .* but conv1 has 3"):
        SimKD(teacher_layer="conv1").auxiliary(student, teacher, TrainingSamples(torch.arange(2)))
