"""A sampler for finite search spaces, in which a point that was tried is not suggested again."""

import math
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

Point = tuple[int, ...]
"""Of each hyperparameter, in order of the names, which of its values."""
PROPOSALS = 20
"""Suggestions that may be points of before, after which any other point is taken."""
LISTED = 4096
"""Points of a space that is written out to find those that are left; a larger one is drawn from."""


class UntriedSampler(BaseSampler):
    """Another sampler's suggestions as long as they are new, then any point that is.

    Args:
        inner: Whose suggestions are taken.
        space: Every searched hyperparameter; none of them continuous.
        tried: Hyperparameters of the trials before.
        seed: Of the choice among the points that are left.
    """

    def __init__(
        self,
        inner: BaseSampler,
        space: Mapping[str, BaseDistribution],
        tried: Iterable[Mapping[str, Any]],
        seed: int,
    ) -> None:
        self._inner, self._rng = inner, np.random.default_rng(seed)
        self._space = {name: space[name] for name in sorted(space)}
        self._tried = frozenset(map(self._point, tried))

    @property
    def left(self) -> int:
        """How many points were not tried."""
        return math.prod(map(count_of, self._space.values())) - len(self._tried)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All of the space that has a choice."""
        return {name: one for name, one in self._space.items() if not one.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A whole point, new if there is one."""
        for _ in range(PROPOSALS):
            values = self._proposal(study, trial, search_space)
            if self._point(values) not in self._tried:
                return values
        return self._left(values)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The inner sampler's; every hyperparameter with a choice comes from `sample_relative`."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def _proposal(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        together = self._inner.infer_relative_search_space(study, trial)
        values = dict(self._inner.sample_relative(study, trial, together))
        for name, one in search_space.items():
            if name not in values:
                values[name] = self._inner.sample_independent(study, trial, name, one)
        return values

    def _left(self, proposal: dict[str, Any]) -> dict[str, Any]:
        """Any point that was not tried; the proposal where there is none."""
        counts = [count_of(one) for one in self._space.values()]
        if math.prod(counts) <= LISTED:
            points: Collection[Point] = [p for p in product(*map(range, counts)) if p not in self._tried]
        else:  # of so many, hardly one of a thousand draws was tried
            draws = (tuple(map(int, self._rng.integers(counts))) for _ in range(1000))
            points = [point for point in draws if point not in self._tried][:1]
        if not points:
            return proposal
        point = list(points)[self._rng.integers(len(points))]
        return {
            name: _value(one, index)
            for (name, one), index in zip(self._space.items(), point, strict=True)
            if not one.single()
        }

    def _point(self, values: Mapping[str, Any]) -> Point:
        return tuple(0 if one.single() else _index(one, values[name]) for name, one in self._space.items())


def count_of(space: BaseDistribution) -> int:
    """How many values a distribution that is not continuous has."""
    match space:
        case CategoricalDistribution(choices=choices):
            return len(choices)
        case IntDistribution(low=low, high=high, step=step):
            return (high - low) // step + 1
        case FloatDistribution(low=low, high=high, step=step) if step is not None:
            return round((high - low) / step) + 1
        case _ if space.single():
            return 1
        case _:
            raise ValueError(f"{space} is continuous")


def _index(space: BaseDistribution, value: Any) -> int:
    match space:
        case IntDistribution(low=low, step=step):
            return int((value - low) // step)
        case FloatDistribution(low=low, step=step) if step is not None:
            steps: float = (value - low) / step
            return round(steps)
        case _:
            return int(space.to_internal_repr(value))


def _value(space: BaseDistribution, index: int) -> Any:
    match space:
        case CategoricalDistribution(choices=choices):
            return choices[index]
        case IntDistribution(low=low, step=step):
            return low + index * step
        case FloatDistribution(low=low, step=step) if step is not None:
            return float(Decimal(str(low)) + index * Decimal(str(step)))
        case _:
            raise ValueError(f"{space} is continuous")
