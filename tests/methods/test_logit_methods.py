"""Losses of logits against loops in NumPy float64, written from the papers' formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lpstudy.methods.dist import DIST, dist_terms
from lpstudy.methods.dkd import DKD, dkd_terms
from lpstudy.methods.fm import FM
from lpstudy.methods.kd import KD
from lpstudy.methods.soft_targets import kd_loss, standardized
from lpstudy.methods.wttm import wttm_loss
from lpstudy.outputs import NO_LABEL, Outputs
from lpstudy.testing import MethodCase, SmallNetwork

GENERATOR = np.random.default_rng(0)
CLASSES = 5
STUDENT = GENERATOR.normal(size=(7, CLASSES)) * 3
TEACHER = GENERATOR.normal(size=(7, CLASSES)) * 3
LABELS = [0, 1, 2, 3, 4, 0, 1]


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    powers = np.exp(logits / temperature)
    return powers / powers.sum()


def divergence(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def dkd(temperature: float) -> tuple[float, float]:
    tckd = nckd = 0.0
    for student, teacher, label in zip(STUDENT, TEACHER, LABELS, strict=True):
        p, q = probabilities(teacher, temperature), probabilities(student, temperature)
        tckd += divergence([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        others = [place for place in range(CLASSES) if place != label]
        nckd += divergence([p[i] / (1 - p[label]) for i in others], [q[i] / (1 - q[label]) for i in others])
    return temperature**2 * tckd / len(LABELS), temperature**2 * nckd / len(LABELS)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0])
def test_dkd_equals_the_paper(temperature: float) -> None:
    student, teacher = torch.tensor(STUDENT), torch.tensor(TEACHER)
    terms = dkd_terms(student, teacher, torch.tensor(LABELS), temperature=temperature)
    assert [float(term) for term in terms] == pytest.approx(list(dkd(temperature)), rel=1e-12)


def test_dkd_splits_kd() -> None:
    # Equation 7: KD = TCKD + (1 - p_target) * NCKD, sample by sample.
    for row, label in enumerate(LABELS):
        student, teacher = torch.tensor(STUDENT[[row]]), torch.tensor(TEACHER[[row]])
        tckd, nckd = dkd_terms(student, teacher, torch.tensor([label]), temperature=2.0)
        other = 1 - probabilities(TEACHER[row], 2.0)[label]
        assert float(tckd + other * nckd) == pytest.approx(float(kd_loss(student, teacher, temperature=2.0)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dkd_is_finite_for_two_classes_and_for_huge_logits(dtype: torch.dtype) -> None:
    two = torch.tensor([[1.0, -2.0], [0.5, 0.5]], dtype=dtype)
    tckd, nckd = dkd_terms(two, two.flip(1), torch.tensor([0, 1]), temperature=4.0)
    assert tckd > 0
    assert nckd == 0
    huge = torch.tensor([[1e4, 0.0, -1e4], [-1e4, 1e4, 3.0]], dtype=dtype, requires_grad=True)
    total = sum(dkd_terms(huge, -huge.detach(), torch.tensor([0, 1]), temperature=1.0))
    (gradient,) = torch.autograd.grad(total, huge)
    assert total.isfinite()
    assert gradient.isfinite().all()


def test_dkd_takes_the_teachers_class_where_there_is_no_label() -> None:
    student, teacher = SmallNetwork(4, 6, seed=1), SmallNetwork(6, 11, seed=2)
    case = MethodCase(DKD(), student, teacher)
    mine, theirs = case.outputs(6)
    step = case.step(0.0, mine, theirs, None)
    own = theirs.logits.argmax(dim=1)
    expected = dkd_terms(mine.logits, theirs.logits, own, temperature=4.0)
    step.labels[1:] = NO_LABEL
    step.labels[0] = own[0]
    parts = case.method.loss(step).parts
    assert float(parts["tckd"]) == pytest.approx(float(expected[0]), rel=1e-6)
    assert float(parts["nckd"]) == pytest.approx(float(expected[1]), rel=1e-6)


@pytest.mark.parametrize("method", [KD(standardize=True), DKD(standardize=True)], ids=["kd", "dkd"])
def test_standardised_methods_see_standardised_logits(method: KD | DKD) -> None:
    case = MethodCase(method, SmallNetwork(4, 6, seed=1), SmallNetwork(6, 11, seed=2))
    mine, theirs = case.outputs(6)
    plain = replace(case, method=method.model_copy(update={"standardize": False}))
    outputs = [Outputs(standardized(of.logits), of.embedding, of.maps) for of in (mine, theirs)]
    expected = plain.method.loss(plain.step(0.0, *outputs, None)).parts
    found = case.method.loss(case.step(0.0, mine, theirs, None)).parts
    for name in expected.keys() - {"ce"}:
        assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-6)
        assert float(found[name]) != pytest.approx(
            float(plain.method.loss(plain.step(0.0, mine, theirs, None)).parts[name]), rel=1e-2
        )


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dist_equals_numpys_correlations(temperature: float) -> None:
    p = np.array([probabilities(row, temperature) for row in TEACHER])
    q = np.array([probabilities(row, temperature) for row in STUDENT])
    inter = np.mean([1 - correlation(p[row], q[row]) for row in range(len(p))])
    intra = np.mean([1 - correlation(p[:, column], q[:, column]) for column in range(CLASSES)])
    found = dist_terms(torch.tensor(STUDENT), torch.tensor(TEACHER), temperature=temperature)
    expected = [temperature**2 * inter, temperature**2 * intra]
    assert [float(term) for term in found] == pytest.approx(expected, rel=1e-6)  # the lengths' eps is 1e-8


def test_dist_is_zero_for_probabilities_that_are_those_of_the_teacher() -> None:
    inter, intra = dist_terms(torch.tensor(TEACHER) + 3, torch.tensor(TEACHER), temperature=2.0)
    assert float(inter) == pytest.approx(0, abs=1e-6)
    assert float(intra) == pytest.approx(0, abs=1e-6)
    assert DIST().weights(0.0) == {"inter": 2.0, "intra": 2.0}


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0])
def test_wttm_equals_the_paper(gamma: float) -> None:
    total = 0.0
    for student, teacher in zip(STUDENT, TEACHER, strict=True):
        powers = probabilities(teacher, 1.0) ** gamma
        norm = powers.sum()
        total += norm * divergence(list(powers / norm), list(probabilities(student, 1.0)))
    found = wttm_loss(torch.tensor(STUDENT), torch.tensor(TEACHER), gamma=gamma)
    assert float(found) == pytest.approx(total / len(STUDENT), rel=1e-12)


def test_wttm_with_exponent_1_is_kd_at_temperature_1() -> None:
    student, teacher = torch.tensor(STUDENT), torch.tensor(TEACHER)
    kd = kd_loss(student, teacher, temperature=1.0)
    assert float(wttm_loss(student, teacher, gamma=1.0)) == pytest.approx(float(kd), rel=1e-12)


def test_standardised_logits_have_mean_0_and_numpys_standard_deviation_1() -> None:
    expected = [(row - row.mean()) / (row.std(ddof=1) + 1e-7) for row in STUDENT]
    np.testing.assert_allclose(standardized(torch.tensor(STUDENT)).numpy(), expected, rtol=1e-12, atol=1e-12)
    equal = torch.full((2, 4), 3.0, requires_grad=True)
    values = standardized(equal)
    values.square().sum().backward()
    assert torch.equal(values, torch.zeros(2, 4))
    assert equal.grad is not None
    assert equal.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_function_matching_is_the_divergence_alone_whatever_the_labels(temperature: float) -> None:
    case = MethodCase(FM(temperature=temperature), SmallNetwork(4, 6, seed=1), SmallNetwork(6, 11, seed=2))
    mine, theirs = case.outputs(6)
    step = case.step(0.0, mine, theirs, None)
    rows = [
        divergence(list(probabilities(t, temperature)), list(probabilities(s, temperature)))
        for s, t in zip(
            mine.logits.detach().double().numpy(), theirs.logits.detach().double().numpy(), strict=True
        )
    ]
    expected = temperature**2 * sum(rows) / len(rows)
    loss = case.method.loss(step)
    assert float(loss.total.detach()) == pytest.approx(expected, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss.total, mine.logits)
    mine, theirs = case.outputs(6)
    step = case.step(0.0, mine, theirs, None)
    step.labels.copy_(step.labels.roll(1))
    step.labels[0] = NO_LABEL
    (other,) = torch.autograd.grad(case.method.loss(step).total, mine.logits)
    assert torch.equal(gradient, other)
