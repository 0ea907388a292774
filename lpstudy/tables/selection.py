"""The accuracy of the highest mean, corrected for its having been picked by the same seeds."""

from collections.abc import Sequence
from math import nan

import numpy as np

from lpstudy.tables.arms import ArmResult

MIN_SEEDS = 3
"""Fewer seeds cannot pick and judge."""


def unselected_accuracy(results: Sequence[ArmResult]) -> float:
    """1/n sum_s a_s(argmax_m of the mean of a_r(m) over r != s): each seed judges what the others pick.

    a_s(m) is the test accuracy of method m with seed s, in percent, over the seeds that all methods have. The
    highest of several means is too high by chance; this is the accuracy of whichever method is picked so,
    from seeds that did not pick it. The test images are the same: it does not correct for a choice by them.
    NaN for fewer than two methods or `MIN_SEEDS` seeds.

    Args:
        results: The methods that the highest mean is picked from.

    Source: Varma and Simon (2006), BMC Bioinformatics 7 (nested selection); Bouthillier et al. (2021), MLSys.
    """
    scored = [one.scores.accuracy for one in results if one.accuracy.n]
    if len(scored) < 2:
        return nan
    seeds = sorted(set.intersection(*(set(one) for one in scored)))
    n = len(seeds)
    if n < MIN_SEEDS:
        return nan
    table = np.array([[one[seed] for seed in seeds] for one in scored])
    others = (table.sum(axis=1, keepdims=True) - table) / (n - 1)
    return float(table[others.argmax(axis=0), np.arange(n)].mean())
