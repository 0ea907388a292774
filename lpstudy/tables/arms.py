"""What each arm of a study has come to: its trials, its winner, and the winner's finals."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from lpstudy.tables.facts import RUN_COLUMNS, ArmFacts, StudyFacts
from lpstudy.tables.statistics import Interval, interval, paired_difference

BASELINE = "bp"
_SELECTED_BY = "validation_accuracy"


@dataclass(frozen=True)
class ArmResult:
    """An arm with its own runs."""

    arm: ArmFacts
    trials: pd.DataFrame
    all_finals: pd.DataFrame

    @cached_property
    def states(self) -> dict[str, int]:
        """How many trials are in each state."""
        return {str(state): int(count) for state, count in self.trials["state"].value_counts().items()}

    @cached_property
    def finals_by_trial(self) -> list[pd.DataFrame]:
        """The finals, one frame per trial that they repeat, each with the last attempt of each seed."""
        finals = self.all_finals.sort_values(["trial", "seed", "attempt"], kind="stable")
        finals = finals.drop_duplicates(["trial", "seed"], keep="last")
        return [group for _, group in finals.groupby("trial", dropna=False, sort=True)]

    @cached_property
    def finals(self) -> pd.DataFrame:
        """The finals of the winner, whatever their state, one row per seed.

        The winner is the trial whose validation accuracy was highest among those that finals were run for:
        finals of an earlier winner stay in the store when more trials are added to a study.
        """
        if not self.finals_by_trial:
            return self.all_finals
        reached = self.trials.set_index("trial")[_SELECTED_BY].to_dict()
        # Finals without their trial's accuracy come last; among equals the earlier trial stays.
        return max(
            self.finals_by_trial,
            key=lambda group: number(reached.get(group["trial"].iloc[0]), missing=-np.inf),
        )

    @cached_property
    def finished(self) -> pd.DataFrame:
        """Those of the winner's finals that have finished."""
        return self.finals[self.finals["state"].eq("finished")]

    @cached_property
    def by_seed(self) -> dict[int, float]:
        """The winner's test accuracy in percent for each seed."""
        return accuracy_by_seed(self.finals)

    @cached_property
    def accuracy(self) -> Interval:
        """The winner's test accuracy in percent."""
        return interval(list(self.by_seed.values()))

    @cached_property
    def winner(self) -> "pd.Series | None":
        """The run that describes the winner: one of its finals, else the best trial; None before those."""
        trials = self.trials[self.trials["state"].eq("finished") & self.trials[_SELECTED_BY].notna()]
        best = trials.sort_values(_SELECTED_BY, ascending=False, kind="stable")
        return next((rows.iloc[0] for rows in (self.finished, best) if len(rows)), None)

    @cached_property
    def teacher_share(self) -> float:
        """The teacher's part of the winner's training cost, in [0, 1]; NaN where it is not known."""
        spent, teacher = mean(self.finished["training_macs"]), mean(self.finished["teacher_macs"])
        return teacher / spent if spent > 0 else np.nan

    def difference(self, other: "ArmResult | None") -> Interval:
        """Test accuracy less that of another arm in percentage points, paired by seed."""
        return interval([]) if other is None else paired_difference(self.by_seed, other.by_seed)


def arm_results(study: StudyFacts, runs: pd.DataFrame) -> list[ArmResult]:
    """The results of the study's arms, in its order.

    Raises:
        ValueError: The frame lacks a column.
    """
    missing = [column for column in RUN_COLUMNS if column not in runs.columns]
    if missing:
        raise ValueError(f"the frame of runs lacks the columns {', '.join(missing)}")
    results = []
    for arm in study.arms:
        own = runs[runs["arm"].eq(arm.name)]
        results.append(ArmResult(arm, own[own["kind"].eq("trial")], own[own["kind"].eq("final")]))
    return results


def baseline_of(result: ArmResult, results: list[ArmResult]) -> ArmResult | None:
    """The result of `bp` with the same student; None for `bp` itself and where the study has none."""
    if result.arm.method == BASELINE:
        return None
    student = result.arm.student
    return next((one for one in results if one.arm.method == BASELINE and one.arm.student == student), None)


def accuracy_by_seed(finals: pd.DataFrame) -> dict[int, float]:
    """Test accuracy in percent of each seed whose final has finished."""
    done = finals[finals["state"].eq("finished") & finals["test_accuracy"].notna()]
    pairs = zip(done["seed"], done["test_accuracy"], strict=True)
    return {int(seed): float(value) for seed, value in pairs if np.isfinite(value)}


def mapping(cell: object) -> Mapping[str, object]:
    """A cell that holds a mapping; empty where the cell is missing."""
    return cell if isinstance(cell, Mapping) else {}


def number(value: object, *, missing: float = np.nan) -> float:
    """A cell of a numeric column; `missing` where it holds no finite number."""
    if value is None or value is pd.NA:
        return missing
    real = float(value)  # type: ignore[arg-type]  # a cell of a numeric column
    return real if np.isfinite(real) else missing


def mean(values: "pd.Series") -> float:
    """The mean of the finite values; NaN where there are none."""
    return interval([number(value) for value in values]).mean
