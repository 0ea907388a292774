"""Warnings about a weak teacher: near chance, or worse than half of a student's accuracy."""

import math

import pandas as pd

from lpstudy.tables.facts import TeacherFacts

CHANCE_SHARE = 0.1
"""The share of the distance from chance to 100 % below which a teacher is near chance."""
CHANCE_RATIO = 3.0
"""The multiple of chance from which an accuracy is far from chance, for any number of classes."""
STANDARD_ERRORS = 3.0
"""The standard errors within which an accuracy is indistinguishable from chance."""


def is_near_chance(accuracy: float, chance: float, samples: int) -> bool:
    """Whether an accuracy is hardly better than always naming the largest class.

    Args:
        accuracy: The accuracy in percent.
        chance: The share of the largest class among the samples, in percent.
        samples: The number of samples.
    """
    error = math.sqrt(chance * (100 - chance) / samples) if samples else 0.0
    far = min(chance + CHANCE_SHARE * (100 - chance), CHANCE_RATIO * chance)
    return accuracy < max(far, chance + STANDARD_ERRORS * error)


def chance_warning(accuracy: float, chance: float, *, own_weights: bool) -> str:
    """The warning about a teacher near chance."""
    advice = (
        "its images may have been normalised or sized otherwise ([teacher] mean, std, image_size), or its"
        " classes be in another order"
        if own_weights
        else "it has learnt next to nothing"
    )
    return f"the teacher reaches {accuracy:.2f} % on validation and guessing {chance:.2f} %: {advice}"


def half_warning(accuracy: float, student: float) -> str | None:
    """The warning about a teacher below half of a student's accuracy; None for a better teacher."""
    if 2 * accuracy >= student:
        return None
    return (
        f"the teacher reaches {accuracy:.2f} % on validation, less than half of a student's {student:.2f} %"
    )


def teacher_warnings(teacher: TeacherFacts, runs: pd.DataFrame, validation_samples: int) -> list[str]:
    """The report's warnings about the teacher.

    Args:
        teacher: Its facts.
        runs: The study's runs.
        validation_samples: How many images the validation part has.
    """
    if teacher.file_classes is not None:
        return [
            f"the teacher's last layer is untrained, for its file has {teacher.file_classes} classes: its"
            " logits mean nothing and its accuracy is left out"
        ]
    reached, warnings = teacher.validation_accuracy, []
    if reached is None:
        return []
    own = teacher.seed is None
    if teacher.chance is not None and is_near_chance(reached, teacher.chance, validation_samples):
        warnings.append(chance_warning(reached, teacher.chance, own_weights=own))
    students = runs.loc[runs["state"].eq("finished"), "validation_accuracy"].dropna()
    half = half_warning(reached, float(students.max())) if len(students) else None
    return [*warnings, *([half] if half else [])]
