"""How good each arm's search was: the best so far over trials and compute, best values at a range's end."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Literal

import numpy as np
import pandas as pd

from lpstudy.tables.arms import ArmResult, mapping, number
from lpstudy.tables.facts import NumberRange

EDGE = 0.05
"""The share of a range, on its own scale, within which a value lies at an end; of values drawn at random one
in ten does."""
LATE = 0.75
"""The share of the trials after which a new best is late. The best of n trials that do not learn from each
other is any of them alike, so that it is late in one of four searches that gain nothing any more."""
ENOUGH_TRIALS = 16
"""Fewest trials of all epochs that an importance rests on: with 16 it names the right first hyperparameter of
two to five in about four of five studies where that one carries three fifths of the variance, see
docs/statistics.md."""
SEARCH_COLUMNS = (
    "method",
    "student",
    "search",
    "trials",
    "full_budget_trials",
    "best_validation_accuracy",
    "flat_since_trial",
    "trials_since",
    "gain_of_second_half",
    "search_macs",
    "search_macs_at_best",
    "search_seconds",
    "search_seconds_at_best",
    "at_edge",
)


@dataclass(frozen=True, slots=True)
class Edge:
    """A best value at an end of its range."""

    name: str
    value: float
    end: Literal["low", "high"]
    space: NumberRange

    @property
    def next_range(self) -> str:
        """The range to search next, as a study file writes it; "" where there is none."""
        return self.space.above if self.end == "high" else self.space.below


@dataclass(frozen=True)
class ArmSearch:
    """The search of one arm."""

    result: ArmResult

    @cached_property
    def progress(self) -> pd.DataFrame:
        """Each trial in its order: the best so far, and what the search had cost after it.

        Columns: `trial`; `best`, the highest validation accuracy in percent of the trials so far that ran
        all their epochs, NaN before the first; `macs`, the training MACs of all trials so far without the
        teacher's, and `seconds`, their training times, both summed.
        """
        trials = self.result.trials
        trials = trials[trials["trial"].notna() & trials["state"].ne("infeasible")]
        trials = trials.sort_values("trial", kind="stable")
        accuracy = trials["validation_accuracy"].where(trials["state"].eq("finished")).astype("float64")
        macs = trials["training_macs"].astype("float64").fillna(0)
        macs -= trials["teacher_macs"].astype("float64").fillna(0)
        return pd.DataFrame(
            {
                "trial": trials["trial"].astype("int64").to_numpy(),
                "best": accuracy.cummax().ffill().to_numpy(),
                "macs": macs.clip(lower=0).cumsum().to_numpy(),
                "seconds": trials["seconds"].astype("float64").fillna(0).cumsum().to_numpy(),
            }
        )

    @cached_property
    def full_budget(self) -> pd.DataFrame:
        """The trials that ran all their epochs, in their order: pruned ones are none of them."""
        trials = self.result.trials
        complete = trials["state"].eq("finished") & trials["validation_accuracy"].notna()
        return trials[complete & trials["trial"].notna()].sort_values("trial", kind="stable")

    @property
    def can_tell_importances(self) -> bool:
        """Whether it has enough trials, and two hyperparameters or more."""
        return len(self.full_budget) >= ENOUGH_TRIALS and len(self.result.arm.ranges) > 1

    @property
    def best(self) -> float:
        """The highest validation accuracy in percent; NaN before the first trial has run all its epochs."""
        return float(self.progress["best"].iloc[-1]) if len(self.progress) else np.nan

    @cached_property
    def best_place(self) -> int | None:
        """The place among all trials, from 0, of the one that raised the best for the last time."""
        reached = self.progress["best"].eq(self.best).to_numpy()
        return int(reached.argmax()) if reached.any() else None

    @property
    def flat_since(self) -> int | None:
        """The number of the trial since which the best has not risen."""
        place = self.best_place
        return None if place is None else int(self.progress["trial"].iloc[place])

    @property
    def trials_since(self) -> int | None:
        """How many trials came after it."""
        return None if self.best_place is None else len(self.progress) - 1 - self.best_place

    @property
    def is_late(self) -> bool:
        """Whether the last rise was late, see LATE; False for fewer than four trials."""
        place, n = self.best_place, len(self.progress)
        return place is not None and n >= 4 and place >= LATE * n

    @property
    def gain_of_second_half(self) -> float:
        """The best less the best of the first half of the trials, in points; NaN where that half has none."""
        half = self.progress["best"].iloc[: len(self.progress) // 2]
        return self.best - float(half.iloc[-1]) if len(half) else np.nan

    def cost(self, column: Literal["macs", "seconds"]) -> tuple[float, float]:
        """What the whole search cost, and what it had cost when the best was reached; NaN if not known."""
        if not len(self.progress) or not self.progress[column].iloc[-1] > 0:
            return np.nan, np.nan
        costs = self.progress[column]
        at_best = np.nan if self.best_place is None else float(costs.iloc[self.best_place])
        return float(costs.iloc[-1]), at_best

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The winner's values at an end of their ranges; choices have no end."""
        winner = self.result.winner
        values = {} if winner is None else mapping(winner["searched"])
        edges = []
        for name, space in self.result.arm.numbers.items():
            value = values.get(name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not space.low < space.high:
                continue
            place = position(float(value), space)
            if place <= EDGE or place >= 1 - EDGE:
                edges.append(Edge(name, float(value), "low" if place <= EDGE else "high", space))
        return tuple(edges)


def position(value: float, space: NumberRange) -> float:
    """The place of a value in its range, 0 at the low end and 1 at the high one, on the range's own scale."""
    if space.log and value > 0:
        return (log(value) - log(space.low)) / (log(space.high) - log(space.low))
    return (value - space.low) / (space.high - space.low)


def searches(results: Sequence[ArmResult]) -> list[ArmSearch]:
    """The searches of the arms that have trials, repeated ones of an arm one by one."""
    every = [one for result in results for one in (result.searches or (result,))]
    return [search for result in every if len((search := ArmSearch(result)).progress)]


def search_table(arm_searches: Sequence[ArmSearch]) -> pd.DataFrame:
    """One row for each search, with the columns of search.csv (`SEARCH_COLUMNS`).

    `at_edge` names each best value at an end of its range, with what to search next.
    """
    rows = []
    for search in arm_searches:
        arm = search.result.arm
        edges = [f"{one.name} {one.end}: {one.next_range or 'goes no further'}" for one in search.edges]
        counts = (len(search.progress), len(search.full_budget))
        flat = (search.flat_since, search.trials_since, number(search.gain_of_second_half))
        costs = (*search.cost("macs"), *search.cost("seconds"))
        rows.append(
            (arm.method, arm.student, arm.search, *counts, search.best, *flat, *costs, "; ".join(edges))
        )
    frame = pd.DataFrame(rows, columns=list(SEARCH_COLUMNS))
    return frame.astype({"flat_since_trial": "Int64", "trials_since": "Int64"})
