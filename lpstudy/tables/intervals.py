"""Intervals over seeds and test images, Holm's correction, Pareto fronts."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, nan, sqrt
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE
"""Probability with which a report may claim a difference among methods that do not differ."""
POWER = 0.8
"""Probability with which a detectable difference is found."""
_EQUAL = 1e-9
"""Percentage points: accuracies are counts of images, and differ by more or not at all."""
_SMALLEST_P = 1e-12


class SearchPart(NamedTuple):
    """The part of a mean's variance that other searches of the same methods would add."""

    variance: float = 0.0
    degrees: int = 0
    """The degrees of freedom of the estimate; 0 where no search is repeated."""

    def quantile(self, probability: float) -> float:
        """The t quantile of the estimate; 0 without one."""
        return float(stdtrit(self.degrees, probability)) if self.degrees else 0.0


NO_SEARCHES = SearchPart()
"""The part where no search is repeated: it is not known, and left out."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over n seeds with its 95 % interval, in the unit of the values; NaN where none can be known.

    The variance of the mean has parts that are known from n seeds, from many images and from repeated
    searches, each with its own quantile: half the width is sqrt(t² · seed_variance + z² · test_variance +
    t_s² · searches.variance) (variance estimates recovery).

    Source: Graybill and Wang (1980), J. Amer. Statist. Assoc. 75; Zou and Donner (2008), Stat. Med. 27.
    """

    mean: float
    low: float
    high: float
    n: int
    seed_variance: float = nan
    """The variance of the mean over seeds: s²/n."""
    test_variance: float = 0.0
    """The additional variance of the mean over test sets of other images."""
    has_records: bool = True
    """Whether records say which images differ; otherwise the test set's part is its smallest value."""
    searches: SearchPart = NO_SEARCHES
    """The additional variance of the mean over other searches."""

    @property
    def half_width(self) -> float:
        """The number behind the plus-minus sign: half the width, or the longer of two unequal sides."""
        return max(self.high - self.mean, self.mean - self.low)

    @property
    def excludes_zero(self) -> bool:
        """Whether all of the interval lies on one side of zero; False where there is no interval."""
        return self.low > 0 or self.high < 0

    @property
    def is_tied(self) -> bool:
        """Whether two or more seeds have the same value, so that their spread is not known."""
        return self.n > 1 and self.seed_variance <= _EQUAL**2

    @property
    def p_value(self) -> float:
        """The level at which the interval would just touch zero; NaN for fewer than two seeds.

        1 where there are but two seeds and both gave the same: of their spread nothing is known.
        """
        if self.n < 2:
            return nan
        if self.mean == 0 or (self.is_tied and self.n == 2):
            return 1.0

        def reach(log_p: float) -> float:
            return self._half(1 - np.exp(log_p) / 2) - abs(self.mean)

        lowest = log(_SMALLEST_P)
        return float(np.exp(brentq(reach, lowest, 0.0))) if reach(lowest) > 0 else _SMALLEST_P

    @property
    def detectable(self) -> float:
        """The smallest true difference that one test at this spread and n finds in 80 % of studies."""
        if self.n < 2:
            return nan
        seeds = float(stdtrit(self.n - 1, (1 + CONFIDENCE) / 2) + stdtrit(self.n - 1, POWER))
        test = float(ndtri((1 + CONFIDENCE) / 2) + ndtri(POWER))
        search = self.searches.quantile((1 + CONFIDENCE) / 2) + self.searches.quantile(POWER)
        beyond = test**2 * self.test_variance + search**2 * self.searches.variance
        return sqrt(seeds**2 * self.seed_variance + beyond)

    def beyond_seeds(self, quantile: float = (1 + CONFIDENCE) / 2) -> float:
        """The part of half the width that more seeds do not narrow: test images and searches."""
        search = self.searches.quantile(quantile)
        return sqrt(ndtri(quantile) ** 2 * self.test_variance + search**2 * self.searches.variance)

    def _half(self, quantile: float) -> float:
        seeds = stdtrit(self.n - 1, quantile) ** 2 * self.seed_variance
        return sqrt(seeds + self.beyond_seeds(quantile) ** 2)


def interval(
    values: Sequence[float],
    test_variance: float = 0.0,
    searches: SearchPart = NO_SEARCHES,
    *,
    has_records: bool = True,
) -> Interval:
    """The mean of the finite values, their spread, and the parts of test set and searches.

    One value has a mean but no interval (NaN bounds), none has neither.
    """
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    n = len(finite)
    if n < 2:
        return Interval(float(finite[0]) if n else nan, nan, nan, n)
    mean = float(finite.mean())
    spread = 0.0 if np.ptp(finite) <= _EQUAL else float(finite.var(ddof=1))
    half = Interval(mean, nan, nan, n, spread / n, test_variance, searches=searches)._half(
        (1 + CONFIDENCE) / 2
    )
    return Interval(mean, mean - half, mean + half, n, spread / n, test_variance, has_records, searches)


def accuracy_interval(values: Sequence[float], images: int, searches: SearchPart = NO_SEARCHES) -> Interval:
    """The mean accuracy in percent, with Wilson's interval for the images and the t interval for the seeds.

    All seeds share the test images, so more seeds do not narrow the images' part. Each side of the interval
    is the root of the sum of both parts' squares.

    Args:
        values: One accuracy for each seed; those that are not finite are left out.
        images: The number of test images; 0 where it is not known.
        searches: The part of other searches.
    """
    seeds = interval(values, 0.0, searches)
    if seeds.n < 2 or images < 1:
        return seeds
    share, z = seeds.mean / 100, float(ndtri((1 + CONFIDENCE) / 2))
    middle = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    reach = z * sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2) / (1 + z**2 / images)
    below = np.hypot(seeds.half_width, seeds.mean - 100 * (middle - reach))
    above = np.hypot(seeds.half_width, 100 * (middle + reach) - seeds.mean)
    test_variance = 1e4 * share * (1 - share) / images
    low, high = max(0.0, float(seeds.mean - below)), min(100.0, float(seeds.mean + above))
    return Interval(seeds.mean, low, high, seeds.n, seeds.seed_variance, test_variance, searches=searches)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values with Holm's correction; NaN values are no tests and stay NaN.

    Source: Holm (1979), Scand. J. Statist. 6.
    """
    tests = sorted((p, place) for place, p in enumerate(p_values) if not np.isnan(p))
    adjusted, reached = [nan] * len(p_values), 0.0
    for rank, (p, place) in enumerate(tests):
        reached = max(reached, min(1.0, (len(tests) - rank) * p))
        adjusted[place] = reached
    return adjusted


def pareto_front(
    frame: pd.DataFrame, *, accuracy: str = "validation_accuracy", cost: str = "macs"
) -> pd.DataFrame:
    """The rows that no other row beats: as accurate at a lower cost, or more accurate at no higher one.

    Args:
        frame: One row per design; rows without both numbers are left out.
        accuracy: Name of the column to be high.
        cost: Name of the column to be low.

    Returns:
        The rows of the front by rising cost. Rows equal in both numbers do not beat each other.
    """
    complete = frame.dropna(subset=[accuracy, cost]).sort_values(cost, kind="stable")
    best_at = complete.groupby(cost)[accuracy].max().astype("float64")
    best_cheaper = best_at.cummax().shift(1, fill_value=-np.inf)
    front = best_at[best_at > best_cheaper]
    is_best = complete[accuracy].astype("float64").eq(complete[cost].map(front))
    return complete[is_best]
