"""Tests and intervals of paired differences over seeds that assume no normal distribution."""

from collections.abc import Sequence
from math import hypot, nan

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv
from scipy.stats import bootstrap

from lpstudy.tables.intervals import CONFIDENCE, Interval

EXACT_SEEDS = 16
"""Up to so many seeds all 2^n sign flips are counted; beyond, a sample of them."""
BOOTSTRAP_SEEDS = 10
"""From so many seeds on there is a bootstrap interval."""
_SAMPLES = 99_999
_SEED = 20_260
_EQUAL = 1e-9
"""Percentage points by which two equal sums may differ in floating point."""


def sign_flip_p_value(differences: Sequence[float]) -> float:
    """The share of the 2^n sign flips s of the differences d with |sum_i s_i d_i| >= |sum_i d_i|.

    Two-sided, and exact where the distribution of a difference is symmetric about 0 when no method is better.
    It is never below 2/2^n: 0.25 for three seeds, 0.0625 for five. Beyond `EXACT_SEEDS` it is (b + 1)/(m + 1)
    of m sampled flips, b of them as extreme. NaN for fewer than two seeds.

    Source: Fisher (1935), The Design of Experiments, section 21; Phipson and Smyth (2010), Stat. Appl. Genet.
    Mol. Biol. 9 (sampled flips).
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return nan
    least = abs(float(values.sum())) - _EQUAL * len(values)
    if len(values) <= EXACT_SEEDS:
        return float((np.abs(_all_sums(values)) >= least).mean())
    signs = np.random.default_rng(_SEED).integers(0, 2, (_SAMPLES, len(values)), dtype=np.int8)
    extreme = int((np.abs((2 * signs - 1) @ values) >= least).sum())
    return (extreme + 1) / (_SAMPLES + 1)


def _all_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of all sign flips but those that mirror them, shape (2^(n - 1),)."""
    sums = values[:1]
    for value in values[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def bca_interval(differences: Sequence[float], beyond_seeds: float) -> tuple[float, float]:
    """The bias-corrected and accelerated bootstrap interval (BCa, 95 %) of the mean difference.

    Seeds are drawn with replacement, 9,999 times, from a fixed seed. Each side is the root of the sum of the
    squares of the bootstrap's distance and of what more seeds do not narrow, `Interval.beyond_seeds`, as in
    the t interval. NaN bounds below `BOOTSTRAP_SEEDS` seeds, where its coverage is too low, and where all
    agree.

    Source: Efron (1987), J. Amer. Statist. Assoc. 82.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < BOOTSTRAP_SEEDS or np.ptp(values) <= _EQUAL:
        return nan, nan
    result = bootstrap(
        (values,), np.mean, confidence_level=CONFIDENCE, method="BCa", rng=np.random.default_rng(_SEED)
    )
    mean = float(values.mean())
    low, high = map(float, result.confidence_interval)
    return mean - hypot(mean - low, beyond_seeds), mean + hypot(high - mean, beyond_seeds)


def outperforming(differences: Sequence[float]) -> Interval:
    """P(A > B): the share of seeds with which A is the more accurate one, a tie counted as half, of 1.

    The interval is Clopper and Pearson's: the lower bound is of the seeds that A wins, the upper one of those
    that it does not lose, so that it covers P(A > B) + P(A = B)/2 in at least 95 % of studies. It is about
    other seeds on the same test images. One seed has no interval.

    Source: Bouthillier et al. (2021), MLSys, arXiv 2103.03098; Clopper and Pearson (1934),
    Biometrika 26.
    """
    values = np.asarray(differences, dtype=np.float64)
    n, wins, losses = len(values), int((values > _EQUAL).sum()), int((values < -_EQUAL).sum())
    if n == 0:
        return Interval(nan, nan, nan, 0)
    share = (wins + (n - wins - losses) / 2) / n
    if n == 1:
        return Interval(share, nan, nan, 1)
    return Interval(share, _lower_bound(wins, n), 1 - _lower_bound(losses, n), n)


def _lower_bound(count: int, n: int) -> float:
    """The share of which `count` or more of n have the probability 2.5 %."""
    return float(betaincinv(count, n - count + 1, (1 - CONFIDENCE) / 2)) if count else 0.0
