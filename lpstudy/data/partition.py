"""Choosing samples class by class in the order of their hashes: no library's generator can change a split."""

from typing import Literal

import torch
from torch import Tensor

from lpstudy.data.augment import hash64

PURPOSES = {"test": 0, "validation": 1, "labels": 2}
"""Sets apart the choices that are made with one seed."""


def share_of_each(count: int, fraction: float) -> int:
    """How many of a class's samples a fraction takes: at least one, but not all of two or more."""
    return min(max(1, round(count * fraction)), count - 1)


def stratified_split(
    labels: Tensor,
    fraction: float,
    *,
    seed: int,
    purpose: Literal["test", "validation"],
    names: tuple[str, ...],
) -> tuple[Tensor, Tensor]:
    """Positions of the rest and of the chosen: the fraction of every class, to the nearest whole sample.

    Args:
        labels: int64, shape (n,).
        fraction: In (0, 1); a larger one chooses the same samples and more.
        seed: Which samples are chosen.
        purpose: What for.
        names: Of the classes, for messages.

    Returns:
        Two ascending int64 tensors that together hold every position in [0, n) once.

    Raises:
        ValueError: A class has one sample only.
    """
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label, members in _by_class(labels, seed=seed, purpose=purpose):
        if len(members) < 2:
            raise ValueError(
                f"class {names[label]!r} has one training sample, a {purpose} part needs a second"
            )
        chosen[members[: share_of_each(len(members), fraction)]] = True
    return torch.nonzero(~chosen).squeeze(1), torch.nonzero(chosen).squeeze(1)


def subset_per_class(labels: Tensor, count: int, *, seed: int, names: tuple[str, ...]) -> Tensor:
    """Ascending positions of `count` samples of every class, int64; a larger count chooses the same and more.

    Raises:
        ValueError: A class has fewer samples than that.
    """
    chosen = []
    for label, members in _by_class(labels, seed=seed, purpose="labels"):
        if len(members) < count:
            raise ValueError(
                f"labels_per_class is {count}, but class {names[label]!r} has {len(members)} training samples"
                " left beside its validation part"
            )
        chosen.append(members[:count])
    return torch.cat(chosen).sort().values


def _by_class(labels: Tensor, *, seed: int, purpose: str) -> list[tuple[int, Tensor]]:
    """Every class that occurs, with the positions of its samples in the order of their hashes."""
    order = hash64(torch.arange(len(labels)), seed, PURPOSES[purpose]).argsort()
    ordered = labels[order]
    return [(label, order[ordered == label]) for label in torch.unique(labels).tolist()]
