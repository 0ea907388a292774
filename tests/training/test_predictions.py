"""Calibration and closeness to the teacher, against NumPy in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from lpstudy.training.predictions import Predictions, expected_calibration_error

CPU = torch.device("cpu")


def predictions_of(
    logits: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor | None = None, *, batch: int = 7
) -> Predictions:
    images, classes = logits.shape
    predictions = Predictions.of(images, classes=classes, device=CPU, teacher_logits=teacher)
    for first in range(0, images, batch):
        predictions.enter(first, logits[first : first + batch], labels[first : first + batch])
    predictions.add_up()
    return predictions


def log_softmax(logits: torch.Tensor) -> np.ndarray:
    values = logits.double().numpy()
    return values - logsumexp(values, axis=1, keepdims=True)


def error_by_bins(confidence: np.ndarray, correct: np.ndarray) -> float:
    """By the definition, one bin after the other."""
    total = 0.0
    for place in range(15):
        inside = (confidence > place / 15) & (confidence <= (place + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize("scale", [0.3, 3.0, 300.0])
def test_figures_are_those_of_numpy(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 211, 6, generator=generator) * scale
    labels = torch.randint(6, (211,), generator=generator)
    metrics = predictions_of(logits, labels, teacher).metrics(torch.arange(211) % 2)
    student, other = log_softmax(logits), log_softmax(teacher)
    rows, targets = np.arange(211), np.eye(6)[labels.numpy()]
    expected = {
        "nll": -student[rows, labels.numpy()].mean(),
        "brier": ((np.exp(student) - targets) ** 2).sum(1).mean(),
        "ece": 100 * error_by_bins(np.exp(student).max(1), student.argmax(1) == labels.numpy()),
        "agreement": 100 * (student.argmax(1) == other.argmax(1)).mean(),
        "teacher_kl": (np.exp(other) * (other - student)).sum(1).mean(),
    }
    assert metrics == pytest.approx(expected, rel=1e-10)


def test_a_probability_of_zero_leaves_all_finite() -> None:
    logits = torch.tensor([[3e4, 0.0], [0.0, 3e4]])
    teacher = torch.tensor([[3e4, 0.0], [3e4, 0.0]])
    metrics = predictions_of(logits, torch.zeros(2, dtype=torch.int64), teacher).metrics(torch.arange(2))
    assert metrics == {"nll": 1.5e4, "brier": 1.0, "ece": 50.0, "agreement": 50.0, "teacher_kl": 1.5e4}


def test_the_first_of_equal_logits_is_the_class() -> None:
    labels = torch.tensor([0, 1])
    metrics = predictions_of(torch.zeros(2, 4), labels, torch.zeros(2, 4)).metrics(labels)
    assert (metrics["ece"], metrics["agreement"], metrics["teacher_kl"]) == (25.0, 100.0, 0.0)
    assert metrics["nll"] == pytest.approx(np.log(4))
    assert metrics["brier"] == pytest.approx(0.75)


def test_a_bin_has_its_upper_edge() -> None:
    edges = np.arange(1, 16) / 15
    correct = np.arange(15) % 2 == 1  # the two last ones would cancel each other in one bin
    assert expected_calibration_error(edges, correct) == pytest.approx(np.abs(correct - edges).mean())
    # Two of one bin cancel each other, two of different bins do not.
    pair = np.array([True, False])
    assert expected_calibration_error(np.array([0.55, 0.55]), pair) == pytest.approx(0.05)
    assert expected_calibration_error(np.array([0.9, 0.1]), pair) == pytest.approx(0.1)


def test_figures_that_are_not_finite_are_left_out() -> None:
    logits = torch.tensor([[1.0, float("nan")], [1.0, 2.0]])
    assert predictions_of(logits, torch.tensor([0, 1])).metrics(torch.tensor([0, 1])) == {}


def test_logits_are_stored_where_there_is_room_for_them() -> None:
    logits = torch.randn(9, 3, generator=torch.Generator().manual_seed(1))
    predictions = replace(Predictions.of(9, classes=3, device=CPU), logits=torch.zeros(9, 3))
    predictions.enter(0, logits[:5], torch.zeros(5, dtype=torch.int64))
    predictions.enter(5, logits[5:], torch.zeros(4, dtype=torch.int64))
    assert torch.equal(predictions.logits, logits)


def test_a_teacher_of_other_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"have shape \(4, 3\), the split \(5, 3\)"):
        Predictions.of(5, classes=3, device=CPU, teacher_logits=torch.zeros(4, 3))
