"""A sampler for finite search spaces that suggests no point twice."""

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
"""The index of each hyperparameter's value, in order of their names."""
PROPOSALS = 20
"""Suggestions of the inner sampler that may repeat a point before any untried point is used."""
MAX_POINTS_LISTED = 4096
"""The most points of a space that is enumerated for its untried points; a larger one is sampled."""


class UntriedSampler(BaseSampler):
    """The inner sampler's suggestions while they are new, then any untried point.

    Args:
        inner: The sampler that suggests points.
        space: Every searched hyperparameter; none is continuous.
        previous: Hyperparameters of the previous trials.
        seed: Seed of the choice among the untried points.
    """

    def __init__(
        self,
        inner: BaseSampler,
        space: Mapping[str, BaseDistribution],
        previous: Iterable[Mapping[str, Any]],
        seed: int,
    ) -> None:
        self._inner, self._rng = inner, np.random.default_rng(seed)
        self._space = {name: space[name] for name in sorted(space)}
        self._previous_points = frozenset(map(self._point, previous))

    @property
    def untried_count(self) -> int:
        """The number of untried points."""
        return math.prod(map(count_of, self._space.values())) - len(self._previous_points)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The hyperparameters that have more than one value."""
        return {name: one for name, one in self._space.items() if not one.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Suggest a complete point, an untried one if any exists."""
        for _ in range(PROPOSALS):
            values = self._proposal(study, trial, search_space)
            if self._point(values) not in self._previous_points:
                return values
        return self._untried_point(values)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Suggest by the inner sampler; `sample_relative` covers every hyperparameter with several values."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def _proposal(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        joint = self._inner.infer_relative_search_space(study, trial)
        values = dict(self._inner.sample_relative(study, trial, joint))
        for name, one in search_space.items():
            if name not in values:
                values[name] = self._inner.sample_independent(study, trial, name, one)
        return values

    def _untried_point(self, proposal: dict[str, Any]) -> dict[str, Any]:
        """Choose any untried point; the proposal where there is none."""
        counts = [count_of(one) for one in self._space.values()]
        if math.prod(counts) <= MAX_POINTS_LISTED:
            points: Collection[Point] = [
                p for p in product(*map(range, counts)) if p not in self._previous_points
            ]
        else:  # of so many, a thousand draws hardly ever repeat previous points alone
            draws = (tuple(map(int, self._rng.integers(counts))) for _ in range(1000))
            points = [point for point in draws if point not in self._previous_points][:1]
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
    """The number of values of a distribution that is not continuous."""
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
