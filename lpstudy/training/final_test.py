"""The one reading of the test set, at the end of a final, and its corrupted copies."""

from collections.abc import Callable

import torch
from torch import Tensor

from lpstudy import correctness
from lpstudy.data import Data
from lpstudy.training.predictions import Predictions

Evaluation = Callable[..., tuple[float, float]]
"""Gives accuracy in percent and loss of a split; it fills the `predictions` that it is given."""


def read_test_set(
    evaluate: Evaluation, data: Data, device: torch.device, read_teacher: Callable[[], Tensor] | None
) -> tuple[dict[str, float], str]:
    """The metrics of a final on the test set and its copies, and its record of correctly classified images.

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
    test_correct = correctness.pack(predictions.correct.bool().cpu().numpy())
    for name, split in data.shifts.items():
        metrics[f"shift_{name}"], _ = evaluate(split)
    return metrics, test_correct
