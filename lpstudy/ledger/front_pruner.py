"""Early stopping of trials with two objectives, accuracy and MACs, that spares every size of student."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FRONT_PRUNER = "front_pruner"
"""The ledger's fact that trials of arms with two objectives are judged; a study begun without it has none."""
BAND = 2.0
"""Trials whose MACs are at most so many times another's, or at least that part of them, are of its band."""
FEWEST = 4
"""Trials, itself included, that a band must have at a rung before one of them is stopped."""


@dataclass(frozen=True, slots=True)
class RungValue:
    """A trial's validation accuracy at a rung, and the MACs of its student."""

    accuracy: float
    macs: int


def is_stopped(trial: RungValue, rivals: Sequence[RungValue], reduction: int) -> bool:
    """Whether a trial stops at a rung: too many trials of its band have a lower non-dominated rank.

    Of a band of n trials, n // reduction may rank lower. A trial that no other of its band dominates
    continues, and with it every trial of the whole front. The values decide, in any order.

    Args:
        trial: The trial.
        rivals: The other trials that have reached the rung, those that were stopped there included.
        reduction: One of so many trials continues past a rung; at most FEWEST.

    Source: Schmucker et al. (2021), arXiv 2106.12639: asynchronous successive halving by non-dominated rank.
    Its ranks span all sizes: an early rung then stops the sizes that learn slowly. Bands are lpstudy's own.
    """
    low, high = trial.macs / BAND, trial.macs * BAND
    band = [trial, *(one for one in rivals if low <= one.macs <= high)]
    if len(band) < FEWEST:
        return False
    ranks = non_dominated_ranks(band)
    return int((ranks < ranks[0]).sum()) >= len(band) // reduction


def non_dominated_ranks(values: Sequence[RungValue]) -> NDArray[np.int64]:
    """The rank of each trial: 0 on the front, 1 on that of the others, and so on.

    One dominates another that is no more accurate and has no fewer MACs, unless both are equal.

    Source: Deb et al. (2002), IEEE Trans. Evol. Comput. 6, section III A.
    """
    accuracy = np.array([value.accuracy for value in values])
    macs = np.array([value.macs for value in values])
    no_worse = (accuracy[:, None] >= accuracy) & (macs[:, None] <= macs)
    dominates = no_worse & ~no_worse.T
    ranks = np.full(len(values), -1)
    rank = 0
    while (open_trials := ranks < 0).any():
        ranks[open_trials & ~dominates[open_trials].any(axis=0)] = rank
        rank += 1
    return ranks
