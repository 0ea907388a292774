"""The report's words on a test set whose classes are uneven."""

from typing import Any

import pandas as pd

from lpstudy.class_accuracy import class_sizes
from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, escape, join
from lpstudy.tables.classes import WORST
from lpstudy.tables.facts import StudyFacts


def class_notes(study: StudyFacts, classes: pd.DataFrame) -> list[Markdown]:
    """What balanced accuracy is, and the worst classes of each winner; empty where classes are even."""
    if study.test_labels is None or classes.empty:
        return []
    sizes = class_sizes(study.test_labels)
    smallest, largest = sizes[sizes > 0].min(), sizes.max()
    arms = classes.groupby(["method", "student"], sort=False)
    worst = [
        Markdown(f"{code(method)} on {code(student)}: {_worst(rows)}") for (method, student), rows in arms
    ]
    return [
        Markdown(
            f"The test set has {smallest:,} to {largest:,} images of a class: balanced is the mean over"
            " classes of the accuracy in each, see [classes.csv](classes.csv). Worst classes, in percent:"
            f" {join(worst, '; ')}."
        )
    ]


def _worst(rows: pd.DataFrame) -> Markdown:
    lowest = rows.sort_values("accuracy_mean", kind="stable").head(WORST)
    pairs = zip(lowest["class"], lowest["accuracy_mean"], strict=True)
    return join((Markdown(f"{escape(name)} {value:.1f}") for name, value in pairs), ", ")


def extra_heads(comparison: pd.DataFrame) -> dict[str, str]:
    """The heads of the table's further accuracies, by the name of their columns in the comparison."""
    heads = {"balanced": "balanced %", "top5": "top-5 %"}
    return {name: head for name, head in heads.items() if f"{name}_mean" in comparison.columns}


def extra_cells(row: "pd.Series[Any]", heads: dict[str, str]) -> list[str]:
    """A row's further accuracies."""
    return [cell_text.accuracy(cell_text.interval_of(row, name)) for name in heads]
