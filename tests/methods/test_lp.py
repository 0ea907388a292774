import numpy as np
import pytest
import torch
from method_steps import step_on
from naive_lp import naive, normal, outputs, step_of
from torch import Tensor

from lpstudy.methods.graph import affinities, knn_graph, laplacian
from lpstudy.methods.lp import LP, laplacian_loss, lp_loss


@pytest.mark.parametrize(
    ("samples", "p", "q", "k", "bandwidth"),
    [(2, 1, 1, 1, 1.0), (12, 3, 7, 1, 0.5), (40, 9, 4, 5, 3.0), (25, 4, 30, 24, 40.0)],
)
def test_equals_a_naive_double_loop_and_so_does_its_gradient(
    samples: int, p: int, q: int, k: int, bandwidth: float
) -> None:
    student, teacher = normal(samples, p, seed=1).requires_grad_(), normal(samples, q, seed=2)
    expected, gradient = naive(student.detach().numpy(), teacher.numpy(), k, bandwidth)
    loss = lp_loss(student, teacher, n_neighbors=k, bandwidth=bandwidth)
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-10, rel=1e-10)
    loss.backward()
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), gradient, atol=1e-10, rtol=1e-10)


def test_passes_autograds_own_check_and_has_no_second_derivative() -> None:
    teacher = normal(6, 3)
    student = normal(6, 2, seed=1).requires_grad_()

    def loss(features: Tensor) -> Tensor:
        return lp_loss(features, teacher, n_neighbors=2, bandwidth=1.5)

    assert torch.autograd.gradcheck(loss, student)
    (gradient,) = torch.autograd.grad(loss(student), student, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        gradient.sum().backward()


def test_equals_the_trace_of_the_graph_laplacian() -> None:
    student, teacher = normal(20, 5, seed=1).requires_grad_(), normal(20, 8, seed=2)
    graph = knn_graph(teacher, 4)
    lap = laplacian(graph, affinities(graph, 6.0))
    loss = lp_loss(student, teacher, n_neighbors=4, bandwidth=6.0)
    values = student.detach()
    assert float(loss.detach()) == pytest.approx(float(torch.trace(values.T @ lap @ values) / 20), rel=1e-12)
    loss.backward()
    torch.testing.assert_close(student.grad, 2 / 20 * lap @ values, rtol=0, atol=1e-13)


def test_gradient_reaches_the_student_and_never_the_teacher() -> None:
    student, teacher = normal(8, 3).requires_grad_(), normal(8, 3, seed=1).requires_grad_()
    lp_loss(student, teacher, n_neighbors=2, bandwidth=1.0).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_is_least_when_all_features_coincide() -> None:
    # Why cross-entropy is part of every loss with an LP term.
    teacher = normal(10, 4)
    same = torch.full((10, 3), 5.0, dtype=torch.float64)
    assert lp_loss(same, teacher, n_neighbors=3, bandwidth=1.0) == 0
    assert lp_loss(normal(10, 3), teacher, n_neighbors=3, bandwidth=1.0) > 0
    assert (
        "ce"
        in LP()
        .loss(step_on(step_of(LP()), outputs(normal(6, 4)), outputs(teacher[:6]), torch.arange(6) % 3))
        .parts
    )


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e4])
def test_float32_features_with_an_offset_give_the_value_of_float64(offset: float) -> None:
    student = (normal(64, 16, seed=1) + offset).float().requires_grad_()
    teacher = (normal(64, 32, seed=2) - offset).float()
    loss = lp_loss(student, teacher, n_neighbors=5, bandwidth=40.0)
    exact, gradient = naive(student.detach().double().numpy(), teacher.double().numpy(), 5, 40.0)
    assert float(loss.detach()) == pytest.approx(exact, rel=1e-4)
    loss.backward()
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), gradient, atol=1e-3 * np.abs(gradient).max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    student, teacher = normal(32, 16, seed=1).to(dtype).requires_grad_(), normal(32, 24, seed=2).to(dtype)
    outside = lp_loss(student, teacher, n_neighbors=5, bandwidth=20.0)
    with torch.autocast("cpu", torch.bfloat16):
        inside = lp_loss(student, teacher, n_neighbors=5, bandwidth=20.0)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)
    inside.backward()
    assert student.grad is not None
    assert student.grad.dtype == dtype


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_equal_features_of_teacher_or_student_give_finite_loss_and_gradient(value: float) -> None:
    same, labels = torch.full((8, 4), value), torch.arange(8) % 3
    for mine, theirs in ((same, normal(8, 4).float()), (normal(8, 4).float(), same), (same, same)):
        for method in (LP(), LP(normalize=True), LP(kd_weight=1.0)):
            student = mine.clone().requires_grad_()
            method.loss(step_on(step_of(method), outputs(student), outputs(theirs), labels)).total.backward()
            assert student.grad is not None
            assert student.grad.isfinite().all()


@pytest.mark.parametrize(
    ("student", "teacher", "k", "bandwidth", "message"),
    [
        ((5, 2), (5, 2), 5, 1.0, "is 5 of 5"),
        ((5, 2), (5, 2), 0, 1.0, "at least 1 but is 0"),
        ((5, 2), (6, 2), 1, 1.0, r"one row per sample but have shapes \(5, 2\) and \(6, 2\)"),
        ((5, 2, 2), (5, 2), 1, 1.0, r"\(5, 2, 2\)"),
        ((5, 2), (5, 2, 2), 1, 1.0, r"\(5, 2, 2\)"),
        ((5, 2), (5, 2), 1, 0.0, "bandwidth must be above 0 but is 0"),
        ((5, 2), (5, 2), 1, float("nan"), "bandwidth must be above 0 but is nan"),
    ],
)
def test_function_refuses_what_it_cannot_measure(
    student: tuple[int, ...], teacher: tuple[int, ...], k: int, bandwidth: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        lp_loss(torch.zeros(student), torch.zeros(teacher), n_neighbors=k, bandwidth=bandwidth)


def test_laplacian_of_another_precision_is_taken_to_the_students() -> None:
    lap = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    loss = laplacian_loss(torch.tensor([[0.0], [2.0]]), lap)
    assert loss.dtype == torch.float32
    assert loss == 2
