"""A scrambled Sobol sequence over an arm's search space, one point for each trial."""

import math
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial


class SobolSampler(BaseSampler):
    """The point of a number in the sequence.

    Optuna's QMCSampler counts its points in the storage; here the number of the trial does, so that a study
    resumes with the next point.

    Args:
        seed: Seed of the scrambling, the same for all trials of an arm.
        number: The point's number, from 0.
    """

    def __init__(self, seed: int, number: int) -> None:
        self._seed, self._number = seed, number
        self._point: dict[str, float] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing: each hyperparameter has its own coordinate, in the order of the requests."""
        del study, trial
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing; see `sample_independent`."""
        del study, trial, search_space
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The hyperparameter's value at its coordinate of the point."""
        del study, trial
        coordinate = self._point.setdefault(param_name, self._coordinate(len(self._point)))
        return _value(param_distribution, coordinate)

    def _coordinate(self, dimension: int) -> float:
        from scipy.stats import qmc

        engine = qmc.Sobol(dimension + 1, scramble=True, rng=np.random.default_rng(self._seed))
        if self._number:
            engine.fast_forward(self._number)
        return float(engine.random(1)[0, dimension])


def _value(space: BaseDistribution, coordinate: float) -> Any:
    """The value of a distribution at a coordinate in [0, 1)."""
    match space:
        case CategoricalDistribution(choices=choices):
            return choices[int(coordinate * len(choices))]
        case IntDistribution(low=low, high=high, step=step, log=False):
            return low + step * int(coordinate * ((high - low) // step + 1))
        case IntDistribution(low=low, high=high):
            lower, upper = math.log(low - 0.5), math.log(high + 0.5)
            return min(max(round(math.exp(lower + coordinate * (upper - lower))), low), high)
        case FloatDistribution(low=low, high=high, step=step) if step is not None:
            return low + step * int(coordinate * (round((high - low) / step) + 1))
        case FloatDistribution(low=low, high=high, log=True):
            return math.exp(math.log(low) + coordinate * math.log(high / low))
        case FloatDistribution(low=low, high=high):
            return low + coordinate * (high - low)
    raise ValueError(f"{space} has no coordinates")
