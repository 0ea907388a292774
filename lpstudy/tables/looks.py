"""Corrected p-values of a family of comparisons, also where seeds are added and looked at again."""

from collections.abc import Callable, Sequence
from math import copysign, isnan, nan

from lpstudy.seed_range import spending
from lpstudy.tables.intervals import holm
from lpstudy.tables.paired_tests import sign_flip_p_value
from lpstudy.tables.scores import Scores

Test = Callable[[Scores, Scores], float]
"""The p-value of the difference of two methods' scores."""
Pair = tuple[Scores, Scores] | None
"""The scores of two methods; None where they are not compared."""


def t_test(one: Scores, other: Scores) -> float:
    """The p-value of the t test, which covers seeds and test images."""
    return one.less(other).p_value


def permutation_test(one: Scores, other: Scores) -> float:
    """The p-value of the sign-flip test, which covers the seeds alone."""
    return sign_flip_p_value(one.seed_differences(other))


def corrected(pairs: Sequence[Pair], test: Test, looks: Sequence[int]) -> list[float]:
    """Holm's p-values of a family; with several looks, those of each look divided by its share of the error.

    With looks n_1 < ... < n_K and shares w_k (`spending`, which add up to 1) the p-value is the smallest of
    p_k / w_k over the looks that are complete, p_k Holm's on the seeds 1 to n_k. By Bonferroni's inequality
    it is below 5 % for some true null hypothesis in at most 5 % of studies, whenever the study ends. A look
    at which the difference had another sign than it has with all seeds does not count. NaN where nothing is
    tested.

    Args:
        pairs: The comparisons.
        test: The test of one comparison.
        looks: The planned numbers of seeds; one or none for a fixed number.
    """
    if len(looks) < 2:
        return holm([nan if pair is None else test(*pair) for pair in pairs])
    smallest = [nan] * len(pairs)
    last = [nan if pair is None else pair[0].less(pair[1]).mean for pair in pairs]
    for seeds, share in zip(looks, spending(looks), strict=True):
        if not _is_complete(pairs, seeds):
            continue
        subset = [None if pair is None else (pair[0].first(seeds), pair[1].first(seeds)) for pair in pairs]
        p_values = holm([nan if pair is None else test(*pair) for pair in subset])
        for place, (pair, p) in enumerate(zip(subset, p_values, strict=True)):
            if pair is None or isnan(p):
                continue
            agrees = copysign(1, pair[0].less(pair[1]).mean) == copysign(1, last[place])
            adjusted = min(1.0, p / share) if agrees else 1.0
            smallest[place] = adjusted if isnan(smallest[place]) else min(smallest[place], adjusted)
    return smallest


def _is_complete(pairs: Sequence[Pair], seeds: int) -> bool:
    """Whether every method that has results has come to so many seeds; a seed whose final failed counts."""
    scores = [one for pair in pairs if pair is not None for one in pair if one.accuracy]
    return bool(scores) and all(max(one.accuracy) >= seeds for one in scores)
