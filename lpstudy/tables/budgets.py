"""The best student within a budget of MACs, parameters or milliseconds, over all methods."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lpstudy.tables.arms import ArmResult, number
from lpstudy.tables.choice import best_design, finished_designs, selected_accuracy
from lpstudy.tables.facts import StudyFacts
from lpstudy.tables.intervals import LEVEL, holm, pareto_front

MOST_BUDGETS = 5
"""Budgets of each kind in a report."""
BUDGET_COLUMNS = (
    "cost",
    "budget",
    "method",
    "design",
    "accuracy_mean",
    "accuracy_low",
    "accuracy_high",
    "seeds",
    "within_noise",
)
CostOf = Callable[[ArmResult], float]


@dataclass(frozen=True)
class BudgetChoice:
    """The design with the highest mean validation accuracy among those within a budget."""

    cost: str
    """MACs, parameters or milliseconds: "macs", "parameters", "latency_ms"."""
    budget: float
    chosen: ArmResult
    rivals: tuple[ArmResult, ...]
    """The other designs within the budget that its finals do not beat, by Holm's test over all of them on
    their test accuracies, paired by seed; the highest mean first."""
    others: int
    """The number of the designs that were compared with it."""


def costs(study: StudyFacts) -> dict[str, CostOf]:
    """What a budget may be of: the figure of a design, NaN where it is not known."""

    def column(name: str) -> CostOf:
        return lambda design: number(None if design.winner is None else design.winner[name])

    def latency(design: ArmResult) -> float:
        row = None if study.latency is None else study.latency.single_image(design.winner_label)
        return np.nan if row is None else row.median_ms

    return {"macs": column("macs"), "parameters": column("parameters"), "latency_ms": latency}


def budget_choices(study: StudyFacts, results: Sequence[ArmResult]) -> list[BudgetChoice]:
    """The best student for budgets of each kind; none of a kind for which all designs cost the same.

    The budgets are the costs at which the choice changes: those of the designs on the front of mean
    validation accuracy and cost, at most five of each kind, spread over it with both ends.
    """
    designs = finished_designs(results)
    return [
        choice
        for name, cost in costs(study).items()
        for choice in _choices(name, [one for one in designs if cost(one) > 0], cost)
    ]


def _choices(name: str, designs: Sequence[ArmResult], cost: CostOf) -> list[BudgetChoice]:
    if len({cost(one) for one in designs}) < 2:
        return []
    frame = pd.DataFrame(
        {
            "validation_accuracy": [selected_accuracy(one) for one in designs],
            "cost": [cost(one) for one in designs],
        }
    )
    steps = sorted(set(pareto_front(frame, cost="cost")["cost"]))
    places = np.unique(np.linspace(0, len(steps) - 1, min(MOST_BUDGETS, len(steps))).round().astype(int))
    choices = []
    for budget in (float(steps[place]) for place in places):
        within = [one for one in designs if cost(one) <= budget]
        chosen = best_design(within)
        others = [one for one in within if one is not chosen]
        choices.append(BudgetChoice(name, budget, chosen, _rivals(chosen, others), len(others)))
    return choices


def _rivals(chosen: ArmResult, others: Sequence[ArmResult]) -> tuple[ArmResult, ...]:
    """The designs that are not worse beyond noise."""
    deltas = [chosen.scores.less(one.scores) for one in others]
    adjusted = holm([delta.p_value for delta in deltas])
    rivals = [
        one
        for one, delta, p in zip(others, deltas, adjusted, strict=True)
        if not (p < LEVEL and delta.mean > 0)
    ]
    return tuple(sorted(rivals, key=lambda one: -one.accuracy.mean))


def budget_table(choices: Sequence[BudgetChoice]) -> pd.DataFrame:
    """One row per budget, for budgets.csv."""
    rows = [
        (
            *(one.cost, one.budget, one.chosen.arm.method, one.chosen.winner_label),
            *(one.chosen.accuracy.mean, one.chosen.accuracy.low, one.chosen.accuracy.high),
            one.chosen.accuracy.n,
            "; ".join(f"{rival.arm.method} {rival.winner_label}" for rival in one.rivals),
        )
        for one in choices
    ]
    return pd.DataFrame(rows, columns=list(BUDGET_COLUMNS))
