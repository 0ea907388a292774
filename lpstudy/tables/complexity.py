"""What each method adds to a training step: parameters, storage, multiply-adds, measured time and memory."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lpstudy.spending import STEP_SECONDS
from lpstudy.tables.arms import BASELINE, ArmResult, baseline_of, mean, number
from lpstudy.tables.facts import COST_COLUMNS
from lpstudy.tables.intervals import interval

COMPLEXITY_COLUMNS = (
    "method",
    "student",
    "auxiliary_parameters",
    *COST_COLUMNS,
    "loss_share",
    "step_seconds_mean",
    "step_seconds_low",
    "step_seconds_high",
    "step_ratio",
    "peak_bytes",
    "peak_gpu_bytes",
    "peak_ratio",
)
"""Columns of complexity.csv."""


def complexity_table(results: Sequence[ArmResult]) -> pd.DataFrame:
    """One row for each arm whose finals have timed their steps; columns `COMPLEXITY_COLUMNS`.

    loss_share is the loss's multiply-adds over those of the student, 3 x its forward pass. Steps have a t
    interval over the finals' seeds. Ratios are to `bp` with the same student and size: of the mean step, and
    of the largest process (its memory on the GPU where there is one). Empty where no final has timed a step.
    """
    rows = [_row(result, list(results)) for result in results if result.final_values(STEP_SECONDS)]
    return pd.DataFrame(rows, columns=list(COMPLEXITY_COLUMNS))


def _row(result: ArmResult, results: list[ArmResult]) -> dict[str, object]:
    finals, winner = result.finished_finals, result.winner
    baseline = result if result.arm.method == BASELINE else baseline_of(result, results)
    if baseline is not None and baseline.design != result.design:
        baseline = None
    step = interval(result.final_values(STEP_SECONDS))
    own = {} if winner is None else {name: number(winner[name]) for name in _COUNTED}
    return {
        "method": result.arm.method,
        "student": result.winner_label,
        **{name: own.get(name, np.nan) for name in ("auxiliary_parameters", *COST_COLUMNS)},
        "loss_share": own.get("loss_macs", np.nan) / (3 * own.get("macs", np.nan)),
        "step_seconds_mean": step.mean,
        "step_seconds_low": step.low,
        "step_seconds_high": step.high,
        "step_ratio": step.mean / _mean(baseline, STEP_SECONDS),
        "peak_bytes": number(finals["peak_bytes"].max()),
        "peak_gpu_bytes": number(finals["peak_gpu_bytes"].max()),
        "peak_ratio": _peak(result) / (np.nan if baseline is None else _peak(baseline)),
    }


_COUNTED = ("auxiliary_parameters", *COST_COLUMNS, "macs")


def _mean(result: ArmResult | None, column: str) -> float:
    return np.nan if result is None else mean(result.finished_finals[column])


def _peak(result: ArmResult) -> float:
    """The memory of the largest final: on the GPU where it has trained on one."""
    on_gpu = number(result.finished_finals["peak_gpu_bytes"].max())
    return on_gpu if np.isfinite(on_gpu) else number(result.finished_finals["peak_bytes"].max())
