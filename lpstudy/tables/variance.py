"""The parts of the variance of a study's accuracies: seeds, test images, searches, and what is left out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import pandas as pd

from lpstudy.tables.arms import SELECTED_BY, ArmResult, number
from lpstudy.tables.facts import FinalsFacts
from lpstudy.tables.verdicts import verdicts

VARIANCE_COLUMNS = ("student", "source", "accuracy_sd", "difference_sd", "degrees", "in_intervals")


@dataclass(frozen=True, slots=True)
class _Pooled:
    """A pooled estimate of a variance."""

    variance: float = nan
    degrees: int = 0

    @property
    def deviation(self) -> float:
        """The standard deviation; NaN without an estimate."""
        return sqrt(self.variance) if self.degrees else nan


def variance_table(finals: FinalsFacts, results: Sequence[ArmResult]) -> pd.DataFrame:
    """The standard deviations of one final's accuracy and of its difference to `bp`, by source, per student.

    In percentage points of test accuracy, pooled over the methods of the student, with the degrees of freedom
    of the estimate; that of candidates is of validation accuracy, at one teacher and split. `in_intervals`
    says whether the report's intervals have the part. Columns `VARIANCE_COLUMNS`; no rows for fewer than two
    seeds.

    Args:
        finals: What differs from final to final.
        results: The results of the study's methods.
    """
    rows: list[tuple[str, str, float, float, int | None, bool]] = []
    for student in dict.fromkeys(one.arm.student for one in results):
        own = [one for one in results if one.arm.student == student]
        seeds = _pool([list(one.scores.accuracy.values()) for one in own])
        if not seeds.degrees:
            continue
        differences = _pool([one.seed_differences for one in verdicts(own)])
        rows.append(
            (student, ", ".join(finals.vary), seeds.deviation, differences.deviation, seeds.degrees, True)
        )
        if (alone := _pool(_candidate_runs(own))).degrees:
            rows.append((student, "seed alone, validation", alone.deviation, nan, alone.degrees, False))
        rows.append((student, "test images", _images(own), _difference_images(own), None, True))
        spread = next((one.search_spread for one in own if one.searches), None)
        if spread is not None and spread.degrees:
            row = (spread.deviation, sqrt(2) * spread.deviation, spread.degrees)
            rows.append((student, "search", *row, True))
    return pd.DataFrame(rows, columns=list(VARIANCE_COLUMNS)).astype({"degrees": "Int64"})


def _pool(groups: Iterable[Sequence[float]]) -> _Pooled:
    """The mean variance within the groups, each weighted by its degrees of freedom."""
    squares, degrees = 0.0, 0
    for group in groups:
        if len(group) > 1:
            squares += float(np.var(group, ddof=1)) * (len(group) - 1)
            degrees += len(group) - 1
    return _Pooled(squares / degrees, degrees) if degrees else _Pooled()


def _candidate_runs(results: Iterable[ArmResult]) -> Iterable[list[float]]:
    """The validation accuracies of each candidate's finished runs."""
    for one in results:
        finished = one.candidates[one.candidates["state"].eq("finished")]
        for _, runs in finished.groupby(["arm", "trial"]):
            yield [number(value) for value in runs[SELECTED_BY]]


def _images(results: Iterable[ArmResult]) -> float:
    """What other test images of the same number would add to one accuracy: the root of p (1 - p) / N."""
    variances = [one.accuracy.test_variance for one in results if one.accuracy.n > 1]
    return sqrt(float(np.mean(variances))) if variances else nan


def _difference_images(results: Sequence[ArmResult]) -> float:
    """The same for the difference to `bp`, beyond what the seeds have of it."""
    variances = [one.delta.test_variance for one in verdicts(results) if one.delta.n > 1]
    return sqrt(float(np.mean(variances))) if variances else nan
