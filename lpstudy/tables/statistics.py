"""Intervals over seeds, paired differences, Pareto fronts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over n seeds with its 95 % interval, in the unit of the values; NaN where it cannot be told."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half the width: the number behind the plus-minus sign."""
        return (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        """Whether all of the interval lies on one side of zero; False where there is no interval."""
        return self.low > 0 or self.high < 0


def interval(values: Sequence[float]) -> Interval:
    """Mean ± t_{0.975, n-1} * s / sqrt(n) over the finite values.

    One value has a mean but no interval (NaN bounds), none has neither.
    """
    given = np.asarray(values, dtype=np.float64)
    given = given[np.isfinite(given)]
    n = len(given)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(given.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1)
    half = float(stats.t.ppf(0.975, n - 1) * given.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Interval:
    """The interval of values[seed] - baseline[seed] over the seeds that both have."""
    shared = sorted(values.keys() & baseline.keys())
    return interval([values[seed] - baseline[seed] for seed in shared])


def pareto_front(
    frame: pd.DataFrame, *, accuracy: str = "validation_accuracy", cost: str = "macs"
) -> pd.DataFrame:
    """The rows that no other row beats: as accurate at a lower cost, or more accurate at no higher cost.

    Args:
        frame: One row per design; rows without both numbers are left out.
        accuracy: Name of the column to be high.
        cost: Name of the column to be low.

    Returns:
        The rows of the front by rising cost. Rows equal in both numbers do not beat each other.
    """
    known = frame.dropna(subset=[accuracy, cost]).sort_values(cost, kind="stable")
    best_at = known.groupby(cost)[accuracy].max().astype("float64")
    best_cheaper = best_at.cummax().shift(1, fill_value=-np.inf)
    front = best_at[best_at > best_cheaper]
    return known[known[accuracy].astype("float64").eq(known[cost].map(front))]
