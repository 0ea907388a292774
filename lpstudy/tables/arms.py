"""The result of each arm of a study: its trials, its winner, and the winner's finals."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from lpstudy.correctness import unpack
from lpstudy.tables.facts import RUN_COLUMNS, ArmFacts, StudyFacts
from lpstudy.tables.intervals import Interval, interval
from lpstudy.tables.scores import Scores

BASELINE = "bp"
_SELECTED_BY = "validation_accuracy"


@dataclass(frozen=True)
class ArmResult:
    """An arm with its own runs."""

    arm: ArmFacts
    trials: pd.DataFrame
    all_finals: pd.DataFrame
    test_images: int = 0
    """The number of test images; 0 where it is not known."""

    @cached_property
    def states(self) -> dict[str, int]:
        """The number of trials in each state."""
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
        accuracies = self.trials.set_index("trial")[_SELECTED_BY].to_dict()
        # Finals without their trial's accuracy come last; among equals the earlier trial stays.
        return max(
            self.finals_by_trial,
            key=lambda group: number(accuracies.get(group["trial"].iloc[0]), missing=-np.inf),
        )

    @cached_property
    def finished_finals(self) -> pd.DataFrame:
        """The finished finals of the winner."""
        return self.finals[self.finals["state"].eq("finished")]

    @cached_property
    def failed_finals(self) -> int:
        """The number of the winner's failed finals."""
        return int(self.finals["state"].eq("failed").sum())

    @cached_property
    def has_failed(self) -> bool:
        """Whether the arm has no result because all its finals, or all its trials, have failed."""
        runs = self.finals if len(self.finals) else self.trials
        has_ended = runs["state"].isin(("failed", "pruned", "infeasible"))
        return bool(len(runs) and has_ended.all() and runs["state"].eq("failed").any())

    @cached_property
    def scores(self) -> Scores:
        """The test scores of the winner's finals."""
        return scores_of(self.finals, self.test_images)

    @cached_property
    def accuracy(self) -> Interval:
        """The winner's test accuracy in percent."""
        return self.scores.mean

    @cached_property
    def winner(self) -> "pd.Series | None":
        """The winner's representative run: one of its finals, else the best trial; None before both."""
        trials = self.trials[self.trials["state"].eq("finished") & self.trials[_SELECTED_BY].notna()]
        best = trials.sort_values(_SELECTED_BY, ascending=False, kind="stable")
        return next((rows.iloc[0] for rows in (self.finished_finals, best) if len(rows)), None)

    @cached_property
    def design(self) -> tuple[object, ...]:
        """The key of the winner's network, equal for arms whose winners have one size.

        They differ where depth and width are searched, or where a method adds to the student.
        """
        if self.winner is None:
            return (self.arm.student,)
        return (self.winner_label, number(self.winner["parameters"]), number(self.winner["macs"]))

    @cached_property
    def winner_label(self) -> str:
        """The label of the winner's student."""
        label = None if self.winner is None else self.winner["student"]
        return label if isinstance(label, str) else self.arm.student

    @cached_property
    def has_added_parts(self) -> bool:
        """Whether the winner is another network than the student, though no size was searched."""
        return self.arm.objectives == 1 and self.winner_label != self.arm.student

    @cached_property
    def teacher_share(self) -> float:
        """The teacher's share of the winner's training cost, in [0, 1]; NaN where it is not known."""
        total, teacher = (
            mean(self.finished_finals["training_macs"]),
            mean(self.finished_finals["teacher_macs"]),
        )
        return teacher / total if total > 0 else np.nan

    def final_values(self, column: str) -> list[float]:
        """The numbers of a column over the winner's finished finals; those without one are left out."""
        return [value for cell in self.finished_finals[column] if np.isfinite(value := number(cell))]

    def difference(self, other: "ArmResult | None") -> Interval:
        """Test accuracy less that of another arm in percentage points, paired by seed.

        Empty where the winners are networks of different sizes: it would be the sizes' difference too.
        """
        if other is None or other.design != self.design:
            return interval([])
        return self.scores.less(other.scores)


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
        arm_runs = runs[runs["arm"].eq(arm.name)]
        trials, finals = (arm_runs[arm_runs["kind"].eq(kind)] for kind in ("trial", "final"))
        results.append(ArmResult(arm, trials, finals, study.test_samples))
    return results


def baseline_of(result: ArmResult, results: list[ArmResult]) -> ArmResult | None:
    """The result of `bp` with the same student; None for `bp` itself and where the study has none."""
    if result.arm.method == BASELINE:
        return None
    student = result.arm.student
    return next((one for one in results if one.arm.method == BASELINE and one.arm.student == student), None)


def scores_of(finals: pd.DataFrame, test_images: int) -> Scores:
    """The test accuracy in percent and the record of images for each seed with a finished final."""
    finished = finals[finals["state"].eq("finished") & finals["test_accuracy"].notna()]
    rows = list(zip(finished["seed"], finished["test_accuracy"], finished["test_correct"], strict=True))
    accuracy = {int(seed): float(value) for seed, value, _ in rows if np.isfinite(value)}
    records = {int(seed): record for seed, _, record in rows if isinstance(record, str) and record}
    return Scores(accuracy, test_images, {seed: unpack(record) for seed, record in records.items()})


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
