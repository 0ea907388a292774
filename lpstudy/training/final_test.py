"""The one reading of the test set, at the end of a final, and of shifted ones."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpstudy import correctness
from lpstudy.damage import SHIFT
from lpstudy.data import Data
from lpstudy.training.predictions import Predictions

Evaluation = Callable[..., tuple[float, float]]
"""Gives accuracy in percent and loss of a split; it fills the `predictions` that it is given."""


def read_test_set(
    evaluate: Evaluation, data: Data, device: torch.device, read_teacher: Callable[[], Tensor] | None
) -> tuple[dict[str, float], str]:
    """The metrics of a final on the test set and shifted ones, and its record of correctly classified images.

    Args:
        evaluate: Evaluates the student on a split.
        data: The data set.
        device: The device of the student.
        read_teacher: Reads the teacher's logits of the test images, where they are at hand.
    """
    predictions = Predictions.of(
        len(data.test),
        classes=data.classes,
        device=device,
        teacher_logits=None if read_teacher is None else read_teacher(),
    )
    metrics = {"test_accuracy": evaluate(data.test, predictions=predictions)[0]}
    figures = predictions.metrics(data.test.labels)
    metrics |= {f"test_{name}": value for name, value in figures.items()}
    shifted = {}
    for name, split in data.shifts.items():
        record = Predictions.of(len(split), classes=data.classes, device=device)
        metrics[f"{SHIFT}{name}"], _ = evaluate(split, predictions=record)
        shifted[name] = _correct(record)
    return metrics, correctness.pack_all(_correct(predictions), shifted)


def _correct(predictions: Predictions) -> NDArray[np.bool_]:
    """Which images are classified correctly."""
    correct: NDArray[np.bool_] = predictions.correct.bool().cpu().numpy()
    return correct
