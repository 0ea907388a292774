"""The sections [budget] and [search] of a study file."""

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from lpstudy.seed_range import SEEDS_SCHEMA, SeedRange, read_seeds

PRUNERS = Literal["median", "halving", "hyperband", "none"]
SAMPLERS = Literal["tpe", "gp", "qmc", "random"]


class Budget(BaseModel):
    """The budget of each arm."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    trials: Annotated[int, Field(ge=1)] = 8
    """Trials per arm, without infeasible designs; at most the number of points in the arm's search space."""
    epochs: Annotated[int, Field(ge=1)] = 30
    """Epochs of each trial and each final."""
    seeds: Annotated[int | SeedRange, BeforeValidator(read_seeds), WithJsonSchema(SEEDS_SCHEMA)] = 5
    """Number of finals per arm: its winner is trained again with seeds 1, 2, ... With { low = 4, high = 24 }
    seeds are added to all arms of a student, at planned looks, while a comparison is open that they can
    decide."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Hours of a sweep after which no trial starts; running trials finish, and finals run."""
    cpu_hours: Annotated[float, Field(gt=0)] | None = None
    """The same in hours of CPU time, as they are measured: of all runs, the teacher and its outputs, over all
    starts of the study. What an earlier study spent on teacher and outputs does not count."""
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    """The same in hours of a GPU."""
    money: Annotated[float, Field(gt=0)] | None = None
    """The same in the price of both, by [cost]."""
    pruner: PRUNERS = "median"
    """Optuna's rule for stopping weak trials early. A trial waits for its decision after some epochs: median
    from half of the epochs on, halving from an eighth, hyperband from a ninth, a third or at the end. Where
    depth or width are searched, a trial is judged there by accuracy and MACs among trials of like MACs."""


class Search(BaseModel):
    """How the trials' hyperparameters are chosen, alike for all arms."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sampler: SAMPLERS = "tpe"
    """Optuna's sampler: `tpe`, `gp` (a Gaussian process), `random`; `qmc` is a scrambled Sobol sequence."""
