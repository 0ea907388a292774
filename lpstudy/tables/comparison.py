"""The comparison of the arms: one row per arm's winner, the teacher first."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lpstudy.tables.facts import RUN_COLUMNS, ArmFacts, StudyFacts
from lpstudy.tables.statistics import Interval, interval, paired_difference
from lpstudy.tables.text import hyperparameters_json

COMPARISON_COLUMNS = (
    "method",
    "student",
    "family",
    "depth",
    "width",
    "accuracy_mean",
    "accuracy_low",
    "accuracy_high",
    "seeds",
    "delta_bp_mean",
    "delta_bp_low",
    "delta_bp_high",
    "parameters",
    "compression",
    "macs",
    "flops",
    "speedup",
    "auxiliary_parameters",
    "training_macs",
    "trials_finished",
    "trials_pruned",
    "trials_failed",
    "best_hyperparameters",
    "mlflow_run_id",
)
_WHOLE_NUMBERS = (
    "depth",
    "width",
    "seeds",
    "parameters",
    "macs",
    "flops",
    "auxiliary_parameters",
    "trials_finished",
    "trials_pruned",
    "trials_failed",
)
_SELECTED_BY = "validation_accuracy"
BASELINE = "bp"


def comparison(study: StudyFacts, runs: pd.DataFrame) -> pd.DataFrame:
    """The teacher, then each arm's winner, with the columns of comparison.csv (`COMPARISON_COLUMNS`).

    Accuracies are on the test set, in percent: mean and 95 % t interval over the seeds of the finals;
    delta_bp is the difference to the arm of `bp` with the same student, paired by seed; flops is 2 x macs.

    Args:
        study: The study's facts; rows follow the order of its arms.
        runs: One row per trial and final, with `RUN_COLUMNS`.

    Raises:
        ValueError: The frame lacks a column.
    """
    missing = [column for column in RUN_COLUMNS if column not in runs.columns]
    if missing:
        raise ValueError(f"the frame of runs lacks the columns {', '.join(missing)}")
    rows = [_teacher_row(study), *(_arm_row(study, arm, runs) for arm in study.arms)]
    table = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))
    return table.astype(dict.fromkeys(_WHOLE_NUMBERS, "Int64"))


def accuracy(runs: pd.DataFrame, arm: ArmFacts) -> Interval:
    """Test accuracy of the arm's winner in percent, over the seeds of its finals."""
    return interval(list(accuracy_by_seed(winner_finals(runs, arm)).values()))


def difference(runs: pd.DataFrame, arm: ArmFacts, other: ArmFacts | None) -> Interval:
    """Test accuracy of one arm's winner less that of another's in percentage points, paired by seed."""
    if other is None:
        return interval([])
    return paired_difference(
        accuracy_by_seed(winner_finals(runs, arm)), accuracy_by_seed(winner_finals(runs, other))
    )


def baseline_arm(study: StudyFacts, arm: ArmFacts) -> ArmFacts | None:
    """The `bp` arm with the same student; None for `bp` itself and where the study has none."""
    if arm.method == BASELINE:
        return None
    partners = (other for other in study.arms if other.method == BASELINE and other.student == arm.student)
    return next(partners, None)


def winner_finals(runs: pd.DataFrame, arm: ArmFacts) -> pd.DataFrame:
    """The finals of the arm's winner, whatever their state, one row per seed: its last attempt.

    The winner is the trial whose validation accuracy was highest among those that finals were run for:
    finals of an earlier winner stay in the store when more trials are added to a study.
    """
    finals = _of(runs, arm, "final")
    groups = finals_by_trial(runs, arm)
    if len(groups) <= 1:
        return groups[0] if groups else finals
    reached = _of(runs, arm, "trial").set_index("trial")[_SELECTED_BY].to_dict()
    # A final without its trial's accuracy comes last; among equals the earlier trial stays.
    return max(groups, key=lambda group: _number(reached.get(group["trial"].iloc[0]), missing=-np.inf))


def finals_by_trial(runs: pd.DataFrame, arm: ArmFacts) -> list[pd.DataFrame]:
    """The arm's finals, one frame per trial that they repeat, each with the last attempt of each seed."""
    finals = _of(runs, arm, "final").sort_values(["trial", "seed", "attempt"], kind="stable")
    finals = finals.drop_duplicates(["trial", "seed"], keep="last")
    return [group for _, group in finals.groupby("trial", dropna=False, sort=True)]


def accuracy_by_seed(finals: pd.DataFrame) -> dict[int, float]:
    """Test accuracy in percent of each seed whose final has finished."""
    done = finals[finals["state"].eq("finished") & finals["test_accuracy"].notna()]
    pairs = zip(done["seed"], done["test_accuracy"], strict=True)
    return {int(seed): float(value) for seed, value in pairs if np.isfinite(value)}


def best_trial(runs: pd.DataFrame, arm: ArmFacts) -> pd.DataFrame:
    """The arm's finished trial with the highest validation accuracy: one row, or none."""
    trials = _of(runs, arm, "trial")
    done = trials[trials["state"].eq("finished") & trials[_SELECTED_BY].notna()]
    return done.sort_values(_SELECTED_BY, ascending=False, kind="stable").head(1)


def trial_states(runs: pd.DataFrame, arm: ArmFacts) -> dict[str, int]:
    """How many of the arm's trials are in each state."""
    counts = _of(runs, arm, "trial")["state"].value_counts()
    return {str(state): int(count) for state, count in counts.items()}


def winner(runs: pd.DataFrame, arm: ArmFacts) -> pd.Series | None:
    """The run that describes the arm's winner: one of its finals, else its best trial; None before those."""
    finals = winner_finals(runs, arm)
    done = finals[finals["state"].eq("finished")]
    for rows in (done, best_trial(runs, arm)):
        if len(rows):
            return rows.iloc[0]
    return None


def teacher_share(runs: pd.DataFrame, arm: ArmFacts) -> float:
    """The teacher's part of the winner's training cost, in [0, 1]; NaN where it is not known."""
    finals = winner_finals(runs, arm)
    done = finals[finals["state"].eq("finished")]
    spent, teacher = _mean(done["training_macs"]), _mean(done["teacher_macs"])
    return teacher / spent if spent > 0 else np.nan


def _of(runs: pd.DataFrame, arm: ArmFacts, kind: str) -> pd.DataFrame:
    return runs[runs["arm"].eq(arm.name) & runs["kind"].eq(kind)]


def _teacher_row(study: StudyFacts) -> dict[str, object]:
    teacher = study.teacher
    return {
        "method": "teacher",
        "student": teacher.label,
        "family": teacher.family,
        "depth": teacher.depth,
        "width": teacher.width,
        "accuracy_mean": _number(teacher.test_accuracy),
        "seeds": None if teacher.test_accuracy is None else 1,
        "parameters": teacher.parameters,
        "compression": 1.0,
        "macs": teacher.macs,
        "flops": 2 * teacher.macs,
        "speedup": 1.0,
        "auxiliary_parameters": 0,
        "training_macs": _number(teacher.training_macs),
        "best_hyperparameters": "{}",
        "mlflow_run_id": teacher.run_id,
    }


def _arm_row(study: StudyFacts, arm: ArmFacts, runs: pd.DataFrame) -> dict[str, object]:
    reached = accuracy(runs, arm)
    delta = difference(runs, arm, baseline_arm(study, arm))
    states = trial_states(runs, arm)
    row: dict[str, object] = {
        "method": arm.method,
        "student": arm.student,
        "accuracy_mean": reached.mean,
        "accuracy_low": reached.low,
        "accuracy_high": reached.high,
        "seeds": reached.n,
        "delta_bp_mean": delta.mean,
        "delta_bp_low": delta.low,
        "delta_bp_high": delta.high,
        "trials_finished": states.get("finished", 0),
        "trials_pruned": states.get("pruned", 0),
        "trials_failed": states.get("failed", 0),
        "best_hyperparameters": "{}",
        "mlflow_run_id": arm.run_id,
    }
    best = winner(runs, arm)
    if best is None:
        return row
    finals = winner_finals(runs, arm)
    done = finals[finals["state"].eq("finished")]
    parameters, macs = _number(best["parameters"]), _number(best["macs"])
    return row | {
        "student": best["student"] if isinstance(best["student"], str) else arm.student,
        "family": best["family"],
        "depth": best["depth"],
        "width": best["width"],
        "parameters": _whole(parameters),
        "compression": study.teacher.parameters / parameters if parameters > 0 else np.nan,
        "macs": _whole(macs),
        "flops": _whole(2 * macs),
        "speedup": study.teacher.macs / macs if macs > 0 else np.nan,
        "auxiliary_parameters": _whole(_number(best["auxiliary_parameters"])),
        "training_macs": _mean(done["training_macs"]),
        "best_hyperparameters": hyperparameters_json(mapping(best["hyperparameters"])),
    }


def mapping(cell: object) -> Mapping[str, object]:
    """A cell that holds a mapping; empty where the cell is missing."""
    return cell if isinstance(cell, Mapping) else {}


def _number(value: object, *, missing: float = np.nan) -> float:
    if value is None or value is pd.NA:
        return missing
    number = float(value)  # type: ignore[arg-type]  # a cell of a numeric column
    return number if np.isfinite(number) else missing


def _whole(value: float) -> int | None:
    return round(value) if np.isfinite(value) else None


def _mean(values: pd.Series) -> float:
    return interval([_number(value) for value in values]).mean
