"""The spread between the winners of repeated searches of one method, which no interval over seeds sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from lpstudy.tables.scores import Scores


@dataclass(frozen=True, slots=True)
class SearchSpread:
    """The variance of one search's winner, around the mean over searches of its method."""

    variance: float = 0.0
    """In squared percentage points of test accuracy."""
    degrees: int = 0
    """The degrees of freedom of the estimate; 0 where no search is repeated."""

    @property
    def deviation(self) -> float:
        """The standard deviation in percentage points."""
        return sqrt(self.variance)


NO_SPREAD = SearchSpread()
"""The spread of a study that repeats no search: not known, and left out of its intervals."""


def pooled_spread(methods: Sequence[Sequence[Scores]]) -> SearchSpread:
    """sum_a sum_k (m_ak - m_a)^2 / sum_a (S_a - 1), m_ak the mean accuracy of search k of method a.

    One spread for all methods: two searches each say little, all together more. m_ak is the mean over the
    seeds that all searches of the method have, so that it has a part of the seeds' spread too.

    Args:
        methods: The scores of each search's winner, for each method that is searched more than once.
    """
    squares, degrees = 0.0, 0
    for searches in methods:
        scored = [one.accuracy for one in searches if one.accuracy]
        shared = sorted(set.intersection(*(set(one) for one in scored))) if scored else []
        if len(scored) < 2 or not shared:
            continue
        means = np.array([[one[seed] for seed in shared] for one in scored]).mean(axis=1)
        squares += float(((means - means.mean()) ** 2).sum())
        degrees += len(scored) - 1
    return SearchSpread(squares / degrees, degrees) if degrees else NO_SPREAD


def mean_scores(searches: Sequence[Scores], spread: SearchSpread) -> Scores:
    """The mean scores of a method's searches, seed by seed, over the seeds that all of them have.

    Args:
        searches: The scores of each search's winner.
        spread: The spread between searches, which becomes part of the mean's variance.
    """
    scored = [one for one in searches if one.accuracy]
    if not scored:
        return Scores({}, searches[0].images)
    seeds = sorted(set.intersection(*(set(one.accuracy) for one in scored)))
    recorded = [seed for seed in seeds if all(seed in one.correct for one in scored)]
    return Scores(
        {seed: float(np.mean([one.accuracy[seed] for one in scored])) for seed in seeds},
        scored[0].images,
        {seed: np.mean([one.correct[seed] for one in scored], axis=0) for seed in recorded},
        spread.variance / len(scored),
        spread.degrees,
    )
