"""Optuna's distributions, samplers and pruners for an arm."""

import hashlib
from collections.abc import Sequence
from itertools import count, takewhile
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from lpstudy.ledger.sobol import SobolSampler
from lpstudy.ledger.untried import UntriedSampler
from lpstudy.space import Arm, Budget, Choices, Range, Scalar, Searchable, StudySpec

RUNGS = 8
"""Equal parts of a trial; `median` decides after each from the middle on: after half, five eighths, ..."""
HALVING = 4
"""Reduction factor of `halving`: one of so many trials continues past a rung; Optuna's default."""
MEDIAN = 2
"""Reduction factor of `median` for trials with two objectives."""
HYPERBAND = 3
"""Reduction factor of `hyperband`, which has up to three brackets; Optuna's default."""


def distribution(arm: Arm, key: str, space: Searchable) -> BaseDistribution:
    """The Optuna distribution of one searched hyperparameter."""
    match space:
        case Choices():
            return CategoricalDistribution(space.choices)
        case Range() if arm.integer(key):
            return IntDistribution(int(space.low), int(space.high), log=space.log, step=int(space.step or 1))
        case Range():
            return FloatDistribution(space.low, space.high, log=space.log, step=space.step)
        case _:
            raise ValueError(f"{key}: {space!r} is fixed")


def check_searched(arm: Arm, key: str, value: Scalar) -> None:
    """Refuse a value of a searched hyperparameter that is outside of its range.

    Raises:
        ValueError: The value is outside.
    """
    space = distribution(arm, key, arm.searched[key])
    try:
        is_inside = space._contains(space.to_internal_repr(value))
    except (ValueError, TypeError):
        is_inside = False
    if not is_inside:
        raise ValueError(f"must be one of {arm.searched[key]} but is {value}")


def suggest(trial: optuna.Trial, arm: Arm) -> dict[str, Scalar]:
    """Suggest values of the arm's searched hyperparameters; values that the trial has do not change."""
    values: dict[str, Any] = {}
    for key, space in arm.searched.items():
        match distribution(arm, key, space):
            case CategoricalDistribution(choices=choices):
                values[key] = trial.suggest_categorical(key, choices)
            case IntDistribution(low=low, high=high, step=step, log=log):
                values[key] = trial.suggest_int(key, low, high, step=step, log=log)
            case FloatDistribution(low=low, high=high, step=step, log=log):
                values[key] = trial.suggest_float(key, low, high, step=step, log=log)
    return values


def sampler(arm: Arm, spec: StudySpec, trials: Sequence[FrozenTrial]) -> optuna.samplers.BaseSampler:
    """The study's sampler for an arm's next trial; the same after a restart.

    Its seed is made of the arm and the number of its trials, so that a restart does not repeat a suggestion.
    In a finite space no point is suggested twice. The first points of the arm come first.

    Args:
        arm: The arm.
        spec: The study.
        trials: The arm's trials.
    """
    valid_trials = [trial for trial in trials if trial.state != TrialState.FAIL]
    inner = _sampler(arm, spec, len(trials))
    if len(valid_trials) < len(arm.start):
        point = {key: value for key, value in arm.start[len(valid_trials)].items() if key in arm.searched}
        return optuna.samplers.PartialFixedSampler(point, inner)
    if arm.points is None:
        return inner
    spaces = {key: distribution(arm, key, space) for key, space in arm.searched.items()}
    return UntriedSampler(inner, spaces, [trial.params for trial in valid_trials], seed_of(arm, len(trials)))


def _sampler(arm: Arm, spec: StudySpec, n_trials: int) -> optuna.samplers.BaseSampler:
    seed, n_startup_trials = seed_of(arm, n_trials), max(4, spec.budget.trials // 3)
    match spec.search.sampler:
        case "tpe":
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=n_startup_trials, multivariate=True, constant_liar=True
            )
        case "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=n_startup_trials)
        case "qmc":
            return SobolSampler(seed_of(arm, 0), n_trials)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)


def seed_of(arm: Arm, n_trials: int) -> int:
    """The sampler's seed for the next trial of an arm that has `n_trials`."""
    name = f"{arm.name}<{arm.warm_start}" if arm.warm_start else arm.name
    return int.from_bytes(hashlib.sha256(f"{name}:{n_trials}".encode()).digest()[:4])


def warmup_epochs(budget: Budget) -> int:
    """The number of a trial's first epochs that the pruner ignores."""
    return max(1, budget.epochs // 2) if budget.pruner == "median" else 0


def rungs(budget: Budget) -> tuple[int, ...]:
    """The epochs after which a trial waits for the pruner's decision.

    Each costs a round trip to the driver. `median` has at most eight, from half of the epochs on; `halving`
    and `hyperband` the rungs of their rules. The last epoch is not among them: the trial has then finished.
    """
    match budget.pruner:
        case "median":
            return tuple(range(warmup_epochs(budget), budget.epochs, max(1, budget.epochs // RUNGS)))
        case "halving":
            steps = (_min_resource(budget) * HALVING**rung for rung in count())
            return tuple(takewhile(lambda step: step < budget.epochs, steps))
        case "hyperband":
            steps = (_hyperband_resource(budget) * HYPERBAND**rung for rung in count())
            return tuple(takewhile(lambda step: step < budget.epochs, steps))
        case "none":
            return ()


def pruner(budget: Budget) -> optuna.pruners.BasePruner:
    """The rule that stops weak trials; `median` never stops the first third, nor any before half."""
    match budget.pruner:
        case "median":
            return optuna.pruners.MedianPruner(
                n_startup_trials=max(4, budget.trials // 3), n_warmup_steps=warmup_epochs(budget)
            )
        case "halving":
            return optuna.pruners.SuccessiveHalvingPruner(
                min_resource=_min_resource(budget), reduction_factor=HALVING
            )
        case "hyperband":
            return optuna.pruners.HyperbandPruner(
                min_resource=_hyperband_resource(budget),
                max_resource=budget.epochs,
                reduction_factor=HYPERBAND,
            )
        case "none":
            return optuna.pruners.NopPruner()


def reduction(budget: Budget) -> int:
    """One of so many trials with two objectives continues past a rung: `median` keeps the better half."""
    return {"median": MEDIAN, "halving": HALVING, "hyperband": HYPERBAND}.get(budget.pruner, 1)


def bracket(budget: Budget, number: int) -> int:
    """How many rungs the trial of this number in an arm skips: the brackets of `hyperband`, in turn."""
    return number % (len(rungs(budget)) + 1) if budget.pruner == "hyperband" else 0


def _hyperband_resource(budget: Budget) -> int:
    return max(1, budget.epochs // HYPERBAND**2)


def _min_resource(budget: Budget) -> int:
    return max(1, budget.epochs // 8)
