"""The result of each arm of a study: its trials, its winner, and the winner's finals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from lpstudy.correctness import unpack
from lpstudy.tables.facts import RUN_COLUMNS, ArmFacts, StudyFacts
from lpstudy.tables.intervals import Interval, interval, pareto_front
from lpstudy.tables.scores import Scores
from lpstudy.tables.search_spread import NO_SPREAD, SearchSpread, mean_scores, pooled_spread

BASELINE = "bp"
SELECTED_BY = "validation_accuracy"
"""The column by which trials are chosen."""


@dataclass(frozen=True)
class ArmResult:
    """An arm with its own runs."""

    arm: ArmFacts
    trials: pd.DataFrame
    all_finals: pd.DataFrame
    candidates: pd.DataFrame
    """The runs that decide which of its best trials goes to the finals."""
    test_images: int = 0
    """The number of test images; 0 where it is not known."""
    looks: tuple[int, ...] = ()
    """The planned numbers of seeds at which it is compared; none for a fixed number."""
    searches: "tuple[ArmResult, ...]" = ()
    """The results of each of its searches, where there are several; `trials` and the others are of all."""
    search_spread: SearchSpread = NO_SPREAD
    """The spread between the winners of repeated searches, pooled over the study's methods."""

    @cached_property
    def states(self) -> dict[str, int]:
        """The number of trials in each state."""
        return {str(state): int(count) for state, count in self.trials["state"].value_counts().items()}

    @cached_property
    def finals_by_trial(self) -> list[pd.DataFrame]:
        """The finals, one frame per trial that they repeat, each with the last attempt of each seed."""
        finals = self.all_finals.sort_values(["trial", "seed", "attempt"], kind="stable")
        finals = finals.drop_duplicates(["trial", "seed"], keep="last")
        return [group for _, group in finals.groupby(["arm", "trial"], dropna=False, sort=True)]

    @cached_property
    def finals(self) -> pd.DataFrame:
        """The finals of the winner, whatever their state, one row per seed (and search).

        The winner is the trial whose accuracy was highest among those that finals were run for: finals of an
        earlier winner stay in the store when more trials are added to a study. The accuracy is the mean of
        the trial's runs as a candidate, where it has any, else its own on the validation set.
        """
        if self.searches:
            return pd.concat([one.finals for one in self.searches])
        if not self.finals_by_trial:
            return self.all_finals
        # Finals without their trial's accuracy come last; among equals the earlier trial stays.
        return max(self.finals_by_trial, key=lambda group: self._selected_by(int(group["trial"].iloc[0])))

    def _selected_by(self, trial: int) -> float:
        """The accuracy by which a trial goes to the finals; -inf where it is not known."""
        finished = self.candidates[self.candidates["state"].eq("finished")]
        accuracies = (finished if len(finished) else self.trials).sort_values("seed")
        own = accuracies[accuracies["trial"].eq(trial)][SELECTED_BY]
        values = [number(value) for value in own]
        return sum(values) / len(values) if values and np.isfinite(values).all() else -np.inf

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
        """The test scores of the winner's finals; of several searches the mean of their winners'."""
        if self.searches:
            return mean_scores([one.scores for one in self.searches], self.search_spread)
        return scores_of(self.finals, self.test_images)

    @cached_property
    def accuracy(self) -> Interval:
        """The winner's test accuracy in percent."""
        return self.scores.mean

    @cached_property
    def winner(self) -> "pd.Series | None":
        """The winner's representative run: one of its finals, else the best trial; None before both."""
        if self.searches:
            return max(self.searches, key=lambda one: one.selected_by).winner
        trials = self.trials[self.trials["state"].eq("finished") & self.trials[SELECTED_BY].notna()]
        best = trials.sort_values(SELECTED_BY, ascending=False, kind="stable")
        return next((rows.iloc[0] for rows in (self.finished_finals, best) if len(rows)), None)

    @cached_property
    def selected_by(self) -> float:
        """The accuracy by which its winner went to the finals; -inf before there are finals."""
        return self._selected_by(int(self.finals["trial"].iloc[0])) if len(self.finals) else -np.inf

    @cached_property
    def design(self) -> tuple[object, ...]:
        """The key of the winner's network, equal for arms whose winners have one size.

        They differ where depth and width are searched, or where a method adds to the student.
        """
        if self.winner is None:
            return (self.arm.student,)
        designs = {one.design for one in self.searches}
        if len(designs) > 1:
            return tuple(sorted(designs, key=str))
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

    @property
    def has_front(self) -> bool:
        """Whether its depth or width is searched, so that its result is a front."""
        return self.arm.objectives > 1

    @cached_property
    def designs(self) -> "list[ArmResult]":
        """A result for each design of its front with finals, by rising MACs; itself where sizes are fixed.

        The front is that of the trials with finals, by their validation accuracy and MACs: the test set
        chooses nothing, and designs that further trials have replaced do not count.
        """
        if not self.has_front or not self.finals_by_trial:
            return [self]
        if self.searches:
            return [design for one in self.searches for design in one.designs]
        accuracies = self.trials.set_index("trial")[SELECTED_BY].to_dict()
        rows = [
            (group, number(accuracies.get(group["trial"].iloc[0])), number(group["macs"].iloc[0]))
            for group in self.finals_by_trial
        ]
        frame = pd.DataFrame(rows, columns=["finals", SELECTED_BY, "macs"])
        return [replace(self, all_finals=finals) for finals in pareto_front(frame)["finals"]] or [self]

    def final_values(self, column: str) -> list[float]:
        """The numbers of a column over the winner's finished finals, one for each seed that has one."""
        values = self.finished_finals.set_index("seed")[column].map(number)
        return [float(value) for value in values.groupby(level=0).mean() if np.isfinite(value)]

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
        trials, finals, candidates = (
            arm_runs[arm_runs["kind"].eq(kind)] for kind in ("trial", "final", "candidate")
        )
        results.append(ArmResult(arm, trials, finals, candidates, study.test_samples, study.looks))
    return _with_searches(results)


def _with_searches(results: Sequence[ArmResult]) -> list[ArmResult]:
    """The results with those of repeated searches as one, each with the pooled spread of its winners."""
    groups: dict[tuple[str, str], list[ArmResult]] = {}
    for one in results:
        groups.setdefault((one.arm.method, one.arm.student), []).append(one)
    repeated = [group for group in groups.values() if len(group) > 1]
    spread = pooled_spread([[one.scores for one in group] for group in repeated])
    return [
        group[0]
        if len(group) == 1
        else ArmResult(
            group[0].arm,
            trials=pd.concat([one.trials for one in group]),
            all_finals=pd.concat([one.all_finals for one in group]),
            candidates=pd.concat([one.candidates for one in group]),
            test_images=group[0].test_images,
            looks=group[0].looks,
            searches=tuple(group),
            search_spread=spread,
        )
        for group in groups.values()
    ]


def baseline_of(result: ArmResult, results: list[ArmResult], baseline: str = BASELINE) -> ArmResult | None:
    """The result of `bp`, or another method, with the same student; None for itself, or without one."""
    if result.arm.method == baseline:
        return None
    student = result.arm.student
    return next((one for one in results if one.arm.method == baseline and one.arm.student == student), None)


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
