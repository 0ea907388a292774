"""The hypervolume of a front of test accuracy and MACs, seed by seed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lpstudy.tables.scores import Scores


def hypervolume_scores(
    designs: Sequence[tuple[float, Scores]], limits: tuple[float, float], *, floor: float
) -> Scores:
    """1/log(b/a) times the integral over log m from a to b of max_i {accuracy_i : MACs_i <= m}.

    It is the dominated area between the reference point (floor, b) and a, over the width of that range: the
    accuracy in percent of the best design for a budget of MACs, on average over budgets between a and b
    that are evenly spread in their logarithm; a budget below every design counts as the floor.

    With each seed it is a weighted mean of the designs' accuracies, so the same mean of the images that they
    classify correctly says what other test images would change.

    Args:
        designs: MACs and scores of each design.
        limits: a and b, the MACs between which it is taken.
        floor: The accuracy in percent of a budget without a student.

    Returns:
        Scores of the seeds that all designs have.

    Source: Zitzler and Thiele (1999), IEEE Trans. Evol. Comput. 3 (the size of the dominated space).
    """
    scores = [one for _, one in designs]
    if not scores:
        return Scores({})
    seeds = sorted(set.intersection(*(set(one.accuracy) for one in scores)))
    macs = np.array([size for size, _ in designs])
    images = scores[0].images
    values: dict[int, float] = {}
    records: dict[int, NDArray[np.float64]] = {}
    for seed in seeds:
        accuracies = np.array([one.accuracy[seed] for one in scores])
        shares, rest = shares_of(macs, accuracies, limits, floor)
        values[seed] = float(shares @ accuracies + rest * floor)
        if all(seed in one.correct and len(one.correct[seed]) == images for one in scores):
            correct = np.array([one.correct[seed] for one in scores], dtype=np.float64)
            records[seed] = shares @ correct + rest * floor / 100
    return Scores(values, images, records)


def shares_of(
    macs: NDArray[np.float64], accuracies: NDArray[np.float64], limits: tuple[float, float], floor: float
) -> tuple[NDArray[np.float64], float]:
    """The share of the range of log MACs in which each design is the best one, and that of the floor.

    Args:
        macs: MACs of each design, shape (n,).
        accuracies: Accuracy of each design in percent, shape (n,).
        limits: The ends of the range.
        floor: The accuracy of a budget without a better design.
    """
    low, high = np.log(limits)
    order = np.lexsort((-accuracies, macs))
    edges = np.clip(np.append(np.log(macs[order]), high), low, high)
    shares = np.zeros(len(macs))
    best, reached = -1, floor
    for place, width in zip(order, np.diff(edges), strict=True):
        if accuracies[place] > reached:
            best, reached = int(place), float(accuracies[place])
        if best >= 0:
            shares[best] += width
    shares /= high - low
    return shares, 1.0 - float(shares.sum())
