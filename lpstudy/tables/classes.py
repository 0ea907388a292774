"""Accuracy by class of the arms' winners, where the test set's classes are uneven."""

import numpy as np
import pandas as pd

from lpstudy.class_accuracy import balanced_images, class_accuracies, class_sizes
from lpstudy.tables.arms import ArmResult
from lpstudy.tables.facts import StudyFacts
from lpstudy.tables.intervals import Interval, accuracy_interval

CLASS_COLUMNS = (
    "method",
    "student",
    "class",
    "images",
    "accuracy_mean",
    "accuracy_low",
    "accuracy_high",
    "seeds",
)
WORST = 3
"""Classes that a sentence names for each arm."""


def balanced(study: StudyFacts, result: ArmResult) -> Interval:
    """Mean over classes of a winner's test accuracy in percent, with an interval as that of accuracy."""
    images = balanced_images(study.test_labels) if study.test_labels is not None else 0
    return accuracy_interval(result.final_values("test_balanced_accuracy"), images)


def top_five(study: StudyFacts, result: ArmResult) -> Interval:
    """A winner's top-5 test accuracy in percent."""
    return accuracy_interval(result.final_values("test_top5_accuracy"), study.test_samples)


def class_table(study: StudyFacts, results: list[ArmResult]) -> pd.DataFrame:
    """One row per arm and class with test images, for classes.csv; no rows where classes are even.

    The interval is that of accuracy, over seeds and the images of the class.
    """
    rows = []
    labels = study.test_labels
    for result in results if labels is not None else ():
        assert labels is not None
        records = [one for one in result.scores.correct.values() if len(one) == len(labels)]
        if not records:
            continue
        by_seed = np.array([class_accuracies(record, labels) for record in records])
        for place, images in enumerate(class_sizes(labels)):
            if images:
                value = accuracy_interval(by_seed[:, place].tolist(), int(images))
                name = study.class_names[place] if place < len(study.class_names) else str(place)
                student = result.winner_label
                row = (result.arm.method, student, name, images, value.mean, value.low, value.high, value.n)
                rows.append(row)
    return pd.DataFrame(rows, columns=list(CLASS_COLUMNS))
