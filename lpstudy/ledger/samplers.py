"""How Optuna is asked: ranges as suggestions, sampler, pruner, importances."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lpstudy.ledger.untried import UntriedSampler
from lpstudy.space import Arm, Budget, Choices, Range, Scalar, Searchable

RUNGS = 8
"""Parts of a trial after which `median` looks at it, from its middle on: after half, five eighths, ..."""
HALVING = 4
"""Of the trials that reach a rung, `halving` lets one in so many go on; Optuna's own default."""


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
        ValueError: It is.
    """
    space = distribution(arm, key, arm.searched[key])
    try:
        inside = space._contains(space.to_internal_repr(value))
    except (ValueError, TypeError):
        inside = False
    if not inside:
        raise ValueError(f"must be one of {arm.searched[key]} but is {value}")


def suggest(trial: optuna.Trial, arm: Arm) -> dict[str, Scalar]:
    """Values for all that the arm searches; what the trial already has stays as it is."""
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


def sampler(
    arm: Arm, budget: Budget, asked: int, tried: Sequence[Mapping[str, Any]]
) -> optuna.samplers.BaseSampler:
    """TPE, seeded by the arm and by how many trials it has: a restart does not repeat a suggestion.

    Args:
        arm: Whose hyperparameters are searched.
        budget: The study's.
        asked: How many trials the arm has.
        tried: Their hyperparameters: where the space is finite, they are not suggested again.
    """
    seed = seed_of(arm, asked)
    tpe = optuna.samplers.TPESampler(
        seed=seed,
        n_startup_trials=max(4, budget.trials // 3),
        multivariate=True,
        constant_liar=True,
    )
    if arm.points is None:
        return tpe
    spaces = {key: distribution(arm, key, space) for key, space in arm.searched.items()}
    return UntriedSampler(tpe, spaces, tried, seed)


def seed_of(arm: Arm, asked: int) -> int:
    """Of the sampler for the next trial of an arm that has so many."""
    return int.from_bytes(hashlib.sha256(f"{arm.name}:{asked}".encode()).digest()[:4])


def spared(budget: Budget) -> int:
    """How many epochs of every trial the pruner does not look at."""
    return max(1, budget.epochs // 2) if budget.pruner == "median" else 0


def rungs(budget: Budget) -> tuple[int, ...]:
    """The epochs after which the pruner looks at a trial, which waits there for the answer.

    Each costs a round trip to the driver. `median` has at most eight, from half of the epochs on; `halving`
    those of its rule. The last epoch is none of them: a trial that has trained to its end is finished.
    """
    match budget.pruner:
        case "median":
            return tuple(range(spared(budget), budget.epochs, max(1, budget.epochs // RUNGS)))
        case "halving":
            steps = (_min_resource(budget) * HALVING**rung for rung in count())
            return tuple(takewhile(lambda step: step < budget.epochs, steps))
        case "none":
            return ()


def pruner(budget: Budget) -> optuna.pruners.BasePruner:
    """The rule that stops weak trials; `median` spares the first third, and all for half their epochs."""
    match budget.pruner:
        case "median":
            return optuna.pruners.MedianPruner(
                n_startup_trials=max(4, budget.trials // 3), n_warmup_steps=spared(budget)
            )
        case "halving":
            return optuna.pruners.SuccessiveHalvingPruner(
                min_resource=_min_resource(budget), reduction_factor=HALVING
            )
        case "none":
            return optuna.pruners.NopPruner()


def _min_resource(budget: Budget) -> int:
    return max(1, budget.epochs // 8)


def hyperparameter_importances(
    arm: Arm, trials: Sequence[tuple[Mapping[str, Scalar], float]]
) -> dict[str, float]:
    """How much each searched hyperparameter matters for validation accuracy; sums to 1, empty under 4 trials.

    Args:
        arm: Whose ranges were searched.
        trials: Values and validation accuracy of each finished trial.
    """
    spaces = {key: distribution(arm, key, space) for key, space in arm.searched.items()}
    if len(trials) < 4 or not spaces or len({value for _, value in trials}) < 2:
        return {}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trials(
        [optuna.trial.create_trial(params=dict(v), distributions=spaces, value=value) for v, value in trials]
    )
    return optuna.importance.get_param_importances(study)
