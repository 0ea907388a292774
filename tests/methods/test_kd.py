import numpy as np
import pytest
import torch
from method_steps import step_on

from lpstudy.methods import StepContext
from lpstudy.methods.kd import KD
from lpstudy.methods.soft_targets import kd_loss
from lpstudy.outputs import Outputs

GENERATOR = np.random.default_rng(0)
STUDENT = GENERATOR.normal(size=(7, 5)) * 3
TEACHER = GENERATOR.normal(size=(7, 5)) * 3


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def oracle(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    return float(temperature**2 * (p * (np.log(p) - np.log(q))).sum() / len(p))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_equals_numpy_and_so_does_its_gradient(temperature: float) -> None:
    student = torch.tensor(STUDENT, requires_grad=True)
    loss = kd_loss(student, torch.tensor(TEACHER), temperature=temperature)
    assert float(loss.detach()) == pytest.approx(oracle(STUDENT, TEACHER, temperature), rel=1e-12)
    loss.backward()
    assert student.grad is not None
    difference = softmax(STUDENT / temperature) - softmax(TEACHER / temperature)
    np.testing.assert_allclose(student.grad.numpy(), temperature * difference / len(STUDENT), atol=1e-13)


def test_gradient_reaches_the_student_and_never_the_teacher() -> None:
    student, teacher = torch.tensor(STUDENT, requires_grad=True), torch.tensor(TEACHER, requires_grad=True)
    kd_loss(student, teacher, temperature=2).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_is_zero_for_logits_that_differ_by_a_constant() -> None:
    logits = torch.tensor(STUDENT)
    assert float(kd_loss(logits + 5, logits, temperature=3)) == pytest.approx(0, abs=1e-14)


def test_divides_by_the_samples_and_not_by_the_classes() -> None:
    once = kd_loss(torch.tensor(STUDENT), torch.tensor(TEACHER), temperature=2)
    twice = kd_loss(torch.tensor(STUDENT).repeat(2, 1), torch.tensor(TEACHER).repeat(2, 1), temperature=2)
    assert float(once) == pytest.approx(float(twice))


def test_stays_finite_for_huge_logits() -> None:
    student = torch.tensor([[1e4, 0.0, -1e4]], requires_grad=True)
    loss = kd_loss(student, torch.tensor([[-1e4, 0.0, 1e4]]), temperature=1)
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_bf16_logits_are_compared_in_float32() -> None:
    student, teacher = torch.tensor(STUDENT).bfloat16(), torch.tensor(TEACHER).bfloat16()
    loss = kd_loss(student, teacher, temperature=4)
    assert loss.dtype == torch.float32
    expected = oracle(student.double().numpy(), teacher.double().numpy(), 4)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_logits_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one shape but have \(7, 5\) and \(7, 6\)"):
        kd_loss(torch.zeros(7, 5), torch.zeros(7, 6), temperature=1)


def test_method_adds_the_weighted_term_to_cross_entropy() -> None:
    labels = np.array([0, 1, 2, 3, 4, 0, 1])
    student = Outputs(torch.tensor(STUDENT), torch.zeros(7, 1))
    teacher = Outputs(torch.tensor(TEACHER), torch.zeros(7, 1))
    method = KD(weight=0.3, temperature=2.5)
    loss = method.loss(
        step_on(
            StepContext(method.weights(0.0), lambda rows: rows, 5), student, teacher, torch.tensor(labels)
        )
    )
    ce = -np.log(softmax(STUDENT)[np.arange(7), labels]).mean()
    soft = oracle(STUDENT, TEACHER, 2.5)
    assert float(loss.parts["ce"]) == pytest.approx(ce, rel=1e-12)
    assert float(loss.parts["kd"]) == pytest.approx(soft, rel=1e-12)
    assert float(loss.total) == pytest.approx(ce + 0.3 * soft, rel=1e-12)
