"""The comparison of the arms: one row per arm's winner, the teacher first."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from lpstudy.damage import FIGURES
from lpstudy.tables.arms import ArmResult, arm_results, mapping, mean, number
from lpstudy.tables.classes import balanced, top_five
from lpstudy.tables.facts import BEYOND_ACCURACY, COST_COLUMNS, PublishedFacts, StudyFacts
from lpstudy.tables.intervals import Interval, interval
from lpstudy.tables.latency import TEACHER_MODEL, LatencyFacts
from lpstudy.tables.paired_columns import PAIRED_COLUMNS, paired_columns
from lpstudy.tables.text import hyperparameters_json
from lpstudy.tables.verdicts import Verdict, verdicts

LATENCY_COLUMNS = ("latency_ms", "latency_p95_ms", "latency_target")
"""Median and 95th percentile of one image's forward pass with onnxruntime, and where."""
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
    "delta_bp_p_holm",
    "delta_bp_detectable",
    "published",
    "published_source",
    "delta_published",
    *COST_COLUMNS,
    *LATENCY_COLUMNS,
    *PAIRED_COLUMNS,
)
MORE = ("balanced", "top5", *BEYOND_ACCURACY)
"""Further figures of a comparison that has them, each with three columns."""
_PARTS = ("mean", "low", "high")
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
    *COST_COLUMNS,
)


def comparison(study: StudyFacts, runs: pd.DataFrame) -> pd.DataFrame:
    """The teacher, then each arm's winner, with the columns of comparison.csv (`COMPARISON_COLUMNS`).

    Accuracies are on the test set, in percent: mean and 95 % interval over the finals' seeds and the images;
    delta_bp is the difference to the arm of `bp` with the same student, paired by seed, where their networks
    are of one size; its p-value is Holm's over the methods of the student, its interval is not corrected;
    delta_bp_detectable is the smallest difference that a single test finds in 80 % of studies; flops is
    2 x macs; published is what others report, and delta_published the study's mean less it where the recipe
    is theirs; COST_COLUMNS, LATENCY_COLUMNS and PAIRED_COLUMNS follow. Where the test set's classes are
    uneven, balanced is the mean over classes of the accuracy; from 20 classes on, top5 is top-5 accuracy;
    BEYOND_ACCURACY are means with t intervals over seeds: MORE.

    Args:
        study: The study's facts; rows follow the order of its arms.
        runs: One row per trial and final, with `RUN_COLUMNS`.

    Raises:
        ValueError: The frame lacks a column.
    """
    return comparison_of(study, arm_results(study, runs))


def comparison_of(study: StudyFacts, results: Sequence[ArmResult]) -> pd.DataFrame:
    """The same from the results of the study's arms."""
    all_verdicts = verdicts(results)
    paired = paired_columns(all_verdicts)
    rows = [_teacher_row(study)]
    rows += [_arm_row(study, one) | more for one, more in zip(all_verdicts, paired, strict=True)]
    # Means, since one seed has no interval.
    known = [one for one in MORE if any(np.isfinite(number(row.get(f"{one}_mean"))) for row in rows)]
    more = [f"{one}_{part}" for one in known for part in _PARTS]
    table = pd.DataFrame(rows, columns=[*COMPARISON_COLUMNS, *more])
    return table.astype(dict.fromkeys(_WHOLE_NUMBERS, "Int64"))


def _teacher_row(study: StudyFacts) -> dict[str, object]:
    teacher = study.teacher
    return {
        "method": "teacher",
        "student": teacher.label,
        "family": teacher.family,
        "depth": teacher.depth,
        "width": teacher.width,
        "accuracy_mean": number(teacher.test_accuracy),
        "seeds": None if teacher.test_accuracy is None else 1,
        "parameters": teacher.parameters,
        "compression": 1.0,
        "macs": teacher.macs,
        "flops": 2 * teacher.macs,
        "speedup": 1.0,
        "auxiliary_parameters": 0,
        **dict.fromkeys(COST_COLUMNS, 0),
        "training_macs": number(teacher.training_macs),
        "best_hyperparameters": "{}",
        "mlflow_run_id": teacher.run_id,
        **_published(teacher.published, number(teacher.test_accuracy)),
        **_latency(study.latency, TEACHER_MODEL),
        "balanced_mean": number(teacher.test_balanced_accuracy),
        "top5_mean": number(teacher.test_top5_accuracy),
        "ece_mean": number(teacher.test_ece),
        "nll_mean": number(teacher.test_nll),
        "brier_mean": number(teacher.test_brier),
    }


def _arm_row(study: StudyFacts, verdict: Verdict) -> dict[str, object]:
    result, delta = verdict.result, verdict.delta
    arm, accuracy, states = result.arm, result.accuracy, result.states
    row: dict[str, object] = {
        "method": arm.method,
        "student": arm.student,
        "accuracy_mean": accuracy.mean,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "seeds": accuracy.n,
        "delta_bp_mean": delta.mean,
        "delta_bp_low": delta.low,
        "delta_bp_high": delta.high,
        "delta_bp_p_holm": verdict.p_value,
        "delta_bp_detectable": delta.detectable,
        "trials_finished": states.get("finished", 0),
        "trials_pruned": states.get("pruned", 0),
        "trials_failed": states.get("failed", 0),
        "best_hyperparameters": "{}",
        "mlflow_run_id": arm.run_id,
        **_published(arm.published, accuracy.mean),
        **_columns("balanced", balanced(study, result)),
        **_columns("top5", top_five(study, result)),
    }
    for name in BEYOND_ACCURACY:
        row |= _columns(name, _within(f"test_{name}", interval(result.final_values(f"test_{name}"))))
    best = result.winner
    if best is None:
        return row
    parameters, macs = number(best["parameters"]), number(best["macs"])
    return row | {
        "student": result.winner_label,
        "family": best["family"],
        "depth": best["depth"],
        "width": best["width"],
        "parameters": _whole(parameters),
        "compression": study.teacher.parameters / parameters if parameters > 0 else np.nan,
        "macs": _whole(macs),
        "flops": _whole(2 * macs),
        "speedup": study.teacher.macs / macs if macs > 0 else np.nan,
        **{name: _whole(number(best[name])) for name in ("auxiliary_parameters", *COST_COLUMNS)},
        "training_macs": mean(result.finished_finals["training_macs"]),
        "best_hyperparameters": hyperparameters_json(mapping(best["hyperparameters"])),
        **_latency(study.latency, result.winner_label),
    }


def _latency(facts: LatencyFacts | None, model: str) -> dict[str, object]:
    """The latency of a network; empty where it was not measured."""
    if facts is None or (row := facts.single_image(model)) is None:
        return {}
    return dict(zip(LATENCY_COLUMNS, (row.median_ms, row.p95_ms, row.target), strict=True))


def _within(figure: str, value: Interval) -> Interval:
    """The interval cut to the figure's lowest and highest value."""
    low, high = np.clip((value.low, value.high), *FIGURES[figure]).tolist()
    return replace(value, low=low, high=high)


def _columns(name: str, value: Interval) -> dict[str, object]:
    return {f"{name}_mean": value.mean, f"{name}_low": value.low, f"{name}_high": value.high}


def _published(published: PublishedFacts | None, accuracy: float) -> dict[str, object]:
    """The columns of a published accuracy; the difference only where the recipe is the same."""
    if published is None:
        return {}
    source = f"{published.source}; {published.note}" if published.note else published.source
    difference = accuracy - published.value if published.has_same_recipe else np.nan
    return {"published": published.value, "published_source": source, "delta_published": difference}


def _whole(value: float) -> int | None:
    return round(value) if np.isfinite(value) else None
