"""Accuracy of the arms' winners on corrupted test images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lpstudy.damage import SHIFT
from lpstudy.data.corruptions import CORRUPTIONS, SEVERITIES
from lpstudy.tables.arms import ArmResult, baseline_of, number
from lpstudy.tables.facts import SHIFT_COLUMNS
from lpstudy.tables.intervals import Interval, interval

MEAN = "mean"
"""The name of the mean over the corruptions in the column of corruptions."""
SHIFT_TABLE_COLUMNS = (
    "method",
    "student",
    "corruption",
    "severity",
    "accuracy_mean",
    "accuracy_low",
    "accuracy_high",
    "relative",
    "delta_bp_mean",
    "delta_bp_low",
    "delta_bp_high",
    "seeds",
)


@dataclass(frozen=True, slots=True)
class ShiftRow:
    """A winner's accuracy in percent on some corrupted images, by 95 % t intervals over seeds."""

    result: ArmResult
    corruption: str
    """Or MEAN."""
    severity: int | None
    """None: the mean over the severities."""
    accuracy: Interval
    relative: float
    """Percent of the accuracy on the images as they are, by the means over the same seeds."""
    delta: Interval
    """Less that of back-prop, paired by seed; empty for back-prop, or where the winners differ in size."""


def shift_rows(results: list[ArmResult]) -> list[ShiftRow]:
    """Each winner on each corruption and severity that finals were measured on, then means over corruptions.

    Empty where none was.
    """
    known = [name for name in SHIFT_COLUMNS if any(one.final_values(name) for one in results)]
    corruptions = [name for name in CORRUPTIONS if any(one.startswith(f"{SHIFT}{name}_") for one in known)]
    severities = [one for one in SEVERITIES if any(name.endswith(f"_{one}") for name in known)]
    groups: list[tuple[str, int | None, list[str]]] = [
        (name, severity, [f"{SHIFT}{name}_{severity}"]) for name in corruptions for severity in severities
    ]
    groups += [
        (MEAN, severity, [f"{SHIFT}{name}_{severity}" for name in corruptions]) for severity in severities
    ]
    groups += [(MEAN, None, known)] if known else []
    return [_row(result, results, *group) for result in results for group in groups]


def shift_table(rows: Sequence[ShiftRow]) -> pd.DataFrame:
    """The rows as a table, for shift.csv."""
    cells = [
        (
            row.result.arm.method,
            row.result.winner_label,
            row.corruption,
            row.severity,
            *(row.accuracy.mean, row.accuracy.low, row.accuracy.high, row.relative),
            *(row.delta.mean, row.delta.low, row.delta.high, row.accuracy.n),
        )
        for row in rows
    ]
    return pd.DataFrame(cells, columns=list(SHIFT_TABLE_COLUMNS)).astype({"severity": "Int64"})


def _row(
    result: ArmResult, results: list[ArmResult], corruption: str, severity: int | None, columns: list[str]
) -> ShiftRow:
    values, rival = _by_seed(result, columns), baseline_of(result, results)
    clean = [result.scores.accuracy[seed] for seed in values if seed in result.scores.accuracy]
    differences: list[float] = []
    if rival is not None and rival.design == result.design:
        others = _by_seed(rival, columns)
        differences = [values[seed] - others[seed] for seed in sorted(values.keys() & others.keys())]
    accuracy = interval(list(values.values()))
    base = float(np.mean(clean)) if len(clean) == len(values) > 0 else np.nan
    relative = 100 * accuracy.mean / base if base > 0 else np.nan
    return ShiftRow(result, corruption, severity, _within_percent(accuracy), relative, interval(differences))


def _by_seed(result: ArmResult, columns: list[str]) -> dict[int, float]:
    """The mean of the columns for each seed whose final has all of them."""
    finals = result.finished_finals
    means = {
        int(row["seed"]): float(np.mean([number(row[name]) for name in columns]))
        for _, row in finals.iterrows()
    }
    return {seed: value for seed, value in means.items() if np.isfinite(value)}


def _within_percent(value: Interval) -> Interval:
    low, high = np.clip((value.low, value.high), 0, 100).tolist()
    return Interval(value.mean, low, high, value.n, value.seed_variance)
