"""What a network predicts for the images of a split: figures beyond accuracy, image by image.

Sources: Naeini et al. (2015), AAAI, and Guo et al. (2017), ICML, arXiv 1706.04599 (calibration error); Brier
(1950), Monthly Weather Review 78 (sum over classes); Stanton et al. (2021), NeurIPS, arXiv 2106.05945
(agreement).
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lpstudy.class_accuracy import TOP, TOP_FROM, balanced_accuracy, is_uneven
from lpstudy.training import parallel

BINS = 15
"""Bins of equal width of the calibration error."""
_VALUES = ("confidence", "nll", "brier")
_TEACHER_VALUES = ("agreement", "teacher_kl")


@dataclass(frozen=True, slots=True)
class Predictions:
    """The predictions for a split; `evaluate` fills them in."""

    correct: Tensor
    """uint8, shape (images,): 1 where the largest logit is that of the image's class."""
    values: Tensor
    """float64, shape (3, images), or (5, images) with a teacher.

    The largest probability, -log p of the image's class in nats, sum_k (p_k - y_k)²; then whether the
    teacher's class is the same, and KL(teacher || student) in nats.
    """
    among_five: Tensor | None = None
    """As `correct` for the five largest logits; None for few classes."""
    teacher_logits: Tensor | None = None
    """Shape (images, classes), on any device; None without a teacher."""
    logits: Tensor | None = None
    """float32, shape (images, classes), on any device: the network's own; None unless they are needed."""

    @classmethod
    def of(
        cls, images: int, *, classes: int, device: torch.device, teacher_logits: Tensor | None = None
    ) -> Self:
        """An empty record of a split.

        Raises:
            ValueError: The teacher's logits are of another number of images or classes.
        """
        if teacher_logits is not None and teacher_logits.shape != (images, classes):
            shape = tuple(teacher_logits.shape)
            raise ValueError(f"the teacher's logits have shape {shape}, the split {(images, classes)}")
        first, five = torch.zeros(2, images, dtype=torch.uint8, device=device)
        rows = len(_VALUES) + (0 if teacher_logits is None else len(_TEACHER_VALUES))
        values = torch.zeros(rows, images, dtype=torch.float64, device=device)
        return cls(first, values, five if classes >= TOP_FROM else None, teacher_logits)

    def enter(self, first: int, logits: Tensor, labels: Tensor) -> None:
        """Enter consecutive images from the first on; probabilities are computed in float64."""
        rows = slice(first, first + len(labels))
        predicted = logits.argmax(1)
        self.correct[rows] = predicted == labels
        if self.among_five is not None:
            self.among_five[rows] = (logits.topk(TOP).indices == labels[:, None]).any(1)
        log_probabilities = logits.double().log_softmax(1)  # finite where a probability is 0
        probabilities = log_probabilities.exp()
        targets = functional.one_hot(labels.long(), logits.shape[1])
        values = [
            probabilities.amax(1),
            0 - log_probabilities.gather(1, labels.long()[:, None])[:, 0],
            (probabilities - targets).square().sum(1),
        ]
        if self.teacher_logits is not None:
            teacher = self.teacher_logits[rows].to(logits.device).double()
            teacher_log = teacher.log_softmax(1)
            values.append((teacher.argmax(1) == predicted).double())
            values.append((teacher_log.exp() * (teacher_log - log_probabilities)).sum(1))
        self.values[:, rows] = torch.stack(values)
        if self.logits is not None:
            self.logits[rows] = logits.to(self.logits.device)

    def add_up(self) -> None:
        """Join the workers' records: each has zeros in the batches of the others."""
        for record in (self.correct, self.values, self.among_five, self.logits):
            if record is not None:
                parallel.all_reduce_sum(record)

    def metrics(self, labels: Tensor) -> dict[str, float]:
        """The finite figures by name: means over the images in float64.

        `ece`, expected calibration error in percent; `nll` in nats; `brier`, in [0, 2]; with a teacher
        `agreement` in percent and `teacher_kl` in nats. `top5_accuracy` from 20 classes on and
        `balanced_accuracy` where classes are uneven, in percent.
        """
        correct, values = self.correct.bool().cpu().numpy(), self.values.cpu().numpy()
        by_name = dict(zip((*_VALUES, *_TEACHER_VALUES), values, strict=False))
        metrics = {name: float(by_name[name].mean()) for name in ("nll", "brier")}
        metrics["ece"] = 100 * expected_calibration_error(by_name["confidence"], correct)
        if self.teacher_logits is not None:
            metrics["agreement"] = 100 * float(by_name["agreement"].mean())
            metrics["teacher_kl"] = max(0.0, float(by_name["teacher_kl"].mean()))  # not less but by rounding
        if self.among_five is not None:
            metrics["top5_accuracy"] = 100 * float(self.among_five.double().mean())
        classes = labels.cpu().numpy()
        if is_uneven(classes):
            metrics["balanced_accuracy"] = balanced_accuracy(correct, classes)
        return {name: value for name, value in metrics.items() if math.isfinite(value)}


def expected_calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """sum_b n_b/n * |accuracy_b - confidence_b| over 15 bins ((b - 1)/15, b/15] of confidence; in [0, 1].

    Args:
        confidence: The largest probability of each image, shape (n,).
        correct: Whether its class is the image's, shape (n,).
    """
    if not np.isfinite(confidence).all():
        return math.nan
    bins = np.searchsorted(np.arange(1, BINS) / BINS, confidence)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))
