"""A searched hyperparameter as an axis: the places of its values from 0 to 1, and its ticks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lpstudy.figures.style import plain
from lpstudy.tables.arms import mapping
from lpstudy.tables.facts import NumberRange
from lpstudy.tables.search_quality import ArmSearch, position

MOST_CHOICES = 8
"""Different numbers without a range, beyond which they are not shown as choices."""
FEWEST_POINTS = 8
"""Trials of all epochs below which a figure of hyperparameters shows no shape."""


@dataclass(frozen=True, slots=True)
class HyperparameterAxis:
    """One hyperparameter as an axis."""

    name: str
    space: NumberRange | None
    """Its range; None for choices."""
    choices: tuple[str, ...]
    """The choices in their order; empty for a range."""

    def place(self, value: object) -> float:
        """The place of a value, 0 at the low end; NaN where it has none."""
        if self.space is not None:
            if not _is_number(value) or not self.space.low < self.space.high:
                return float("nan")
            return min(1.0, max(0.0, position(float(value), self.space)))
        text = str(value)
        return (self.choices.index(text) + 0.5) / len(self.choices) if text in self.choices else float("nan")

    def ticks(self) -> list[tuple[float, str]]:
        """The places and texts of its ticks: the ends of a range, or each choice."""
        if self.space is not None:
            return [(0.0, f"{self.space.low:g}"), (1.0, f"{self.space.high:g}")]
        return [(self.place(choice), plain(choice, max_length=9)) for choice in self.choices]


@dataclass(frozen=True, slots=True)
class Group:
    """The trials of all epochs of the arms of one method that search the same ranges."""

    method: str
    students: tuple[str, ...]
    axes: tuple[HyperparameterAxis, ...]
    trials: pd.DataFrame
    """The rows of runs, with the column `below`: validation accuracy less the best of the arm, in points."""

    def places(self, axis: HyperparameterAxis) -> NDArray[np.float64]:
        """The places of the trials' values on an axis."""
        return np.array([axis.place(values.get(axis.name)) for values in self.values], dtype=np.float64)

    @property
    def values(self) -> list[Mapping[str, object]]:
        """The searched values of each trial."""
        return [mapping(cell) for cell in self.trials["searched"]]


def groups_of(arm_searches: Sequence[ArmSearch]) -> list[Group]:
    """The groups with a trial of all epochs, in the order of their first arms."""
    by_key: dict[tuple[object, ...], list[ArmSearch]] = {}
    for one in arm_searches:
        arm = one.result.arm
        key = (arm.method, *sorted(arm.ranges.items()))
        if len(one.full_budget):
            by_key.setdefault(key, []).append(one)
    return [_group(members) for members in by_key.values()]


def _group(members: Sequence[ArmSearch]) -> Group:
    arm = members[0].result.arm
    frames = [
        one.full_budget.assign(below=one.full_budget["validation_accuracy"] - one.best) for one in members
    ]
    trials = pd.concat(frames)
    values = [mapping(cell) for cell in trials["searched"]]
    axes = [_axis(name, arm.numbers.get(name), [one.get(name) for one in values]) for name in arm.ranges]
    students = tuple(one.result.arm.student for one in members)
    return Group(arm.method, students, tuple(axes), trials)


def _axis(name: str, space: NumberRange | None, values: Iterable[object]) -> HyperparameterAxis:
    known = [value for value in values if value is not None]
    numbers = sorted({float(value) for value in known if _is_number(value)})
    if space is None and len(numbers) > MOST_CHOICES:
        space = NumberRange(numbers[0], numbers[-1])
    if space is not None:
        return HyperparameterAxis(name, space, ())
    ranked = sorted({str(value): value for value in known}.items(), key=lambda item: _order(item[1]))
    return HyperparameterAxis(name, None, tuple(text for text, _ in ranked))


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _order(value: object) -> tuple[bool, float, str]:
    """Numbers by size, then texts."""
    if _is_number(value):
        return False, float(value), ""
    return True, 0.0, str(value)
