"""Choice of samples class by class in the order of their hashes, which no library's generator can change."""

from typing import Literal

import torch
from torch import Tensor

from lpstudy.sample_hash import hash64

PURPOSES = {"test": 0, "validation": 1, "labels": 2}
"""Hash keys that make the choices of one seed independent."""


def share_of_each(count: int, fraction: float) -> int:
    """The number of a class's samples in a fraction of it: at least one, but not all of two or more."""
    return min(max(1, round(count * fraction)), count - 1)


def stratified_split(
    labels: Tensor,
    fraction: float,
    *,
    seed: int,
    purpose: Literal["test", "validation"],
    names: tuple[str, ...],
) -> tuple[Tensor, Tensor]:
    """Positions of two parts; the second has the fraction of every class, to the nearest whole sample.

    Args:
        labels: int64, shape (n,).
        fraction: In (0, 1); a larger one adds samples to the second part.
        seed: Determines the choice.
        purpose: What the second part is for.
        names: Names of the classes, for messages.

    Returns:
        Two ascending int64 tensors that together hold every position in [0, n) once.

    Raises:
        ValueError: A class has only one sample.
    """
    in_second = torch.zeros(len(labels), dtype=torch.bool)
    for label, members in _by_class(labels, seed=seed, purpose=purpose):
        if len(members) < 2:
            raise ValueError(
                f"class {names[label]!r} has one training sample, a {purpose} part needs a second"
            )
        in_second[members[: share_of_each(len(members), fraction)]] = True
    return torch.nonzero(~in_second).squeeze(1), torch.nonzero(in_second).squeeze(1)


def subset_per_class(labels: Tensor, count: int, *, seed: int, names: tuple[str, ...]) -> Tensor:
    """Ascending positions of `count` samples of every class, int64; a larger count adds samples.

    Raises:
        ValueError: A class has fewer samples.
    """
    parts = []
    for label, members in _by_class(labels, seed=seed, purpose="labels"):
        if len(members) < count:
            raise ValueError(
                f"labels_per_class is {count}, but class {names[label]!r} has {len(members)} training samples"
                " besides its validation part"
            )
        parts.append(members[:count])
    return torch.cat(parts).sort().values


def _by_class(labels: Tensor, *, seed: int, purpose: str) -> list[tuple[int, Tensor]]:
    """Every class with samples, and their positions in the order of their hashes."""
    order = hash64(torch.arange(len(labels)), seed, PURPOSES[purpose]).argsort()
    labels_in_order = labels[order]
    return [(label, order[labels_in_order == label]) for label in torch.unique(labels).tolist()]
