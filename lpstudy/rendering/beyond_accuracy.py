"""The report's table of calibration and of closeness to the teacher."""

from typing import Any

import pandas as pd

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, escape, table
from lpstudy.tables.latency import TEACHER_MODEL

_HEADS = {
    "ece": ("ECE %", 2),
    "nll": ("NLL", 4),
    "brier": ("Brier", 4),
    "agreement": ("agreement %", 2),
    "teacher_kl": ("KL", 4),
}
"""Head and decimals of each figure."""


def beyond_accuracy_section(comparison: pd.DataFrame) -> Markdown | None:
    """The table of `tables.comparison`'s figures beyond accuracy; None where the finals have none."""
    known = [name for name in _HEADS if f"{name}_mean" in comparison.columns]
    if not known:
        return None
    rows = [(*_names(row), *(_cell(row, name) for name in known)) for _, row in comparison.iterrows()]
    return table(["method", "student", *(_HEADS[name][0] for name in known)], rows, left_aligned=2)


def _names(row: "pd.Series[Any]") -> tuple[Markdown, Markdown]:
    method = str(row["method"])
    return (Markdown(method) if method == TEACHER_MODEL else code(method)), escape(row["student"])


def _cell(row: "pd.Series[Any]", name: str) -> str:
    value, decimals = cell_text.interval_of(row, name), _HEADS[name][1]
    if value.n == 0:
        return cell_text.NOTHING
    return f"{value.mean:.{decimals}f}" + (f" ± {value.half_width:.{decimals}f}" if value.n > 1 else "")
