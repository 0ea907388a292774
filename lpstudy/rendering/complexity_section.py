"""The report's table of what each method adds to a training step."""

from typing import Any

import pandas as pd

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, escape, table
from lpstudy.tables.facts import COST_COLUMNS


def complexity_section(frame: pd.DataFrame) -> Markdown | None:
    """The table; None where no final has timed its steps.

    Args:
        frame: The table of `tables.complexity`.
    """
    if frame.empty:
        return None
    has_gpu = bool(frame["peak_gpu_bytes"].notna().any())
    heads = (
        "method", "student", "auxiliary params", "their bytes", "loss MACs", "of the student's",
        "teacher's bytes", "step", "÷ `bp`", "peak GPU memory" if has_gpu else "peak memory", "÷ `bp`",
    )  # fmt: skip
    peak = "peak_gpu_bytes" if has_gpu else "peak_bytes"
    auxiliary_bytes, loss_macs, teacher_bytes = COST_COLUMNS
    rows = [
        (
            code(row["method"]),
            escape(row["student"]),
            cell_text.count(row["auxiliary_parameters"]),
            cell_text.count(row[auxiliary_bytes]),
            cell_text.count(row[loss_macs]),
            _percent(row["loss_share"]),
            cell_text.count(row[teacher_bytes]),
            _milliseconds(row),
            _ratio(row["step_ratio"]),
            cell_text.size(row[peak]),
            _ratio(row["peak_ratio"]),
        )
        for _, row in frame.iterrows()
    ]
    return table([Markdown(head) for head in heads], rows, left_aligned=2)


def _milliseconds(row: "pd.Series[Any]") -> str:
    """12.3 ± 0.4 ms: the mean step and half its 95 % interval."""
    step = cell_text.interval_of(row, "step_seconds")
    if not step.n:
        return cell_text.NOTHING
    spread = f" ± {1000 * step.half_width:.2g}" if step.n > 1 else ""
    return f"{1000 * step.mean:.3g}{spread} ms"


def _ratio(value: object) -> str:
    number = cell_text.real(value)
    return cell_text.NOTHING if number is None else f"{number:.2f}"


def _percent(value: object) -> str:
    number = cell_text.real(value)
    return cell_text.NOTHING if number is None else f"{100 * number:.2g} %"
