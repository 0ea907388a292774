"""The designs of an arm's front of validation accuracy and MACs that have finals."""

from collections.abc import Sequence

import numpy as np


def front_designs(values: Sequence[Sequence[float]], count: int) -> list[int]:
    """The places of at most `count` trials of the front, spread over it: the most accurate one first.

    Each further one is the trial of the front that is farthest from all before it, in log MACs and accuracy,
    each scaled to the front's range; of equally far ones the cheaper. Of equal trials the earliest counts.

    Args:
        values: Validation accuracy and MACs of each finished trial, in their order.
        count: The most trials.

    Source: the farthest-first order of Schmucker et al. (2021), arXiv 2106.12639 (their epsilon-net).
    """
    front: list[int] = []
    for place in sorted(range(len(values)), key=lambda one: (values[one][1], -values[one][0], one)):
        if not front or values[place][0] > values[front[-1]][0]:
            front.append(place)
    if not front:
        return []
    points = np.array([(values[place][0], np.log(values[place][1])) for place in front])
    points = (points - points.min(axis=0)) / np.maximum(np.ptp(points, axis=0), 1e-12)
    chosen = [len(front) - 1]
    while len(chosen) < min(count, len(front)):
        distances = np.linalg.norm(points[:, None] - points[chosen], axis=2).min(axis=1)
        chosen.append(int(distances.argmax()))
    return [front[place] for place in chosen]
