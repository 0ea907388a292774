"""Every trial and final in one flat table."""

import pandas as pd

from lpstudy.correctness import first_line
from lpstudy.spending import SPENDING, STEP_SECONDS
from lpstudy.tables.arms import mapping
from lpstudy.tables.facts import TEST_COLUMNS
from lpstudy.tables.text import hyperparameters_json, public_text, spreadsheet_safe

_ORDER = ["arm", "kind", "trial", "seed", "attempt", "run_id"]


def trials_table(runs: pd.DataFrame) -> pd.DataFrame:
    """The frame of runs with flat cells, for trials.csv: `flops` added, mappings as sorted JSON.

    Rows are ordered by arm, trials before candidates and finals, trial, seed and attempt. Strings that a
    spreadsheet would run as formulas are defused, absolute paths in warnings shortened; of the records of
    images that of the test set stays.
    """
    optional = (*TEST_COLUMNS, STEP_SECONDS, *SPENDING)
    table = runs.drop(columns=[name for name in optional if runs[name].isna().all()])
    table["kind"] = pd.Categorical(table["kind"], categories=["trial", "candidate", "final"], ordered=True)
    table = table.sort_values(_ORDER, kind="stable").reset_index(drop=True)
    table["kind"] = table["kind"].astype("object")
    for column in ("hyperparameters", "searched"):
        table[column] = [hyperparameters_json(mapping(cell)) for cell in table[column]]
    table["test_correct"] = [
        first_line(cell) if isinstance(cell, str) else cell for cell in table["test_correct"]
    ]
    table["warnings"] = ["; ".join(warning_texts(cell)) for cell in table["warnings"]]
    table.insert(list(table.columns).index("macs") + 1, "flops", 2 * table["macs"])
    return spreadsheet_safe(table)


def warning_texts(cell: object) -> list[str]:
    """The warnings in a cell, each passed through `public_text`; none where the cell is missing."""
    if not isinstance(cell, list | tuple):
        return []
    return [public_text(str(text)) for text in cell]


def warning_counts(runs: pd.DataFrame) -> pd.DataFrame:
    """Each distinct warning of an arm with the number of runs that gave it, most frequent first."""
    rows = [
        (arm, text, run)
        for arm, run, cell in zip(runs["arm"], runs["run_id"], runs["warnings"], strict=True)
        for text in dict.fromkeys(warning_texts(cell))
    ]
    frame = pd.DataFrame(rows, columns=["arm", "warning", "run_id"])
    counts = frame.groupby(["arm", "warning"], sort=False)["run_id"].nunique().rename("runs").reset_index()
    return counts.sort_values("runs", ascending=False, kind="stable").reset_index(drop=True)
