"""What each phase of a study has spent, for every arm, beside what its plan has estimated."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lpstudy.spending import BANK, PEAKS, PHASES, SPENDING, PhaseSpending, total
from lpstudy.tables.arms import number
from lpstudy.tables.facts import StudyFacts

PLANNED = ("runs", "macs", "cpu_seconds", "gpu_seconds", "wall_seconds", "money")
"""The estimated columns, each with `planned_` before its name."""
COST_TABLE_COLUMNS = (
    "phase",
    "arm",
    "method",
    "student",
    "spent_earlier",
    "runs",
    "macs",
    *SPENDING,
    "money",
    *(f"planned_{name}" for name in PLANNED),
)
"""Columns of cost.csv."""
TOGETHER = "together"
"""The last row of `by_phase`."""


def spent_phases(study: StudyFacts, runs: pd.DataFrame) -> list[PhaseSpending]:
    """The phases of the study with what they have spent: teacher and bank, then those of each arm.

    Runs that have not ended an epoch are left out. Multiply-accumulates of runs leave out the teacher's
    outputs where the study has a bank, whose own row has them.
    """
    rows = sorted((row for row in study.spending if row.runs), key=lambda row: row.is_earlier)
    has_bank = any(row.phase == BANK for row in study.spending)
    for arm in study.arms:
        of_arm = runs[runs["arm"].eq(arm.name) & runs["training_macs"].notna()]
        for kind in (*PHASES, *sorted({*of_arm["kind"]} - PHASES.keys())):
            part = of_arm[of_arm["kind"].eq(kind)]
            if len(part):
                macs = part["training_macs"] - (part["teacher_macs"].fillna(0.0) if has_bank else 0.0)
                figures = total(_figures(row) for row in part[[*SPENDING]].to_dict("records"))
                rows.append(PhaseSpending(kind, arm.name, len(part), float(macs.sum()), figures))
    return rows


def _figures(row: Mapping[object, object]) -> dict[str, float]:
    values = {str(name): number(value) for name, value in row.items()}
    return {name: value for name, value in values.items() if np.isfinite(value)}


def cost_table(study: StudyFacts, runs: pd.DataFrame) -> pd.DataFrame:
    """One row for each phase of an arm, teacher and bank first; columns `COST_TABLE_COLUMNS`.

    Sums are of all runs of the phase: CPU and GPU seconds, wall seconds, joules, multiply-accumulates; peaks
    are those of its largest process. Empty without any figure.
    """
    rows = spent_phases(study, runs)
    if not any(row.figures for row in rows):
        return pd.DataFrame(columns=list(COST_TABLE_COLUMNS))
    planned = {(row.phase, row.arm): row for row in study.estimate}
    cells = [_cells(study, row, planned.pop((row.phase, row.arm), None)) for row in rows]
    cells += [_cells(study, PhaseSpending(row.phase, row.arm, 0), row) for row in planned.values()]
    table = pd.DataFrame(cells, columns=list(COST_TABLE_COLUMNS))
    numbers = [name for name in COST_TABLE_COLUMNS[6:] if name != "planned_runs"]
    return table.astype({"runs": "Int64", "planned_runs": "Int64", **dict.fromkeys(numbers, "float64")})


def _cells(study: StudyFacts, row: PhaseSpending, planned: PhaseSpending | None) -> dict[str, object]:
    arm = next((arm for arm in study.arms if arm.name == row.arm), None)
    cells: dict[str, object] = {
        "phase": PHASES.get(row.phase, row.phase),
        "arm": row.arm,
        "method": "" if arm is None else arm.method,
        "student": "" if arm is None else arm.student,
        "spent_earlier": row.is_earlier,
        "runs": row.runs,
        "macs": row.macs,
        **row.figures,
        "money": study.prices.money(row.figures),
    }
    if planned is not None:
        figures = {**planned.figures, "runs": planned.runs, "macs": planned.macs}
        figures["money"] = study.prices.money(planned.figures)
        cells |= {f"planned_{name}": figures.get(name) for name in PLANNED}
    return cells


def by_phase(table: pd.DataFrame) -> pd.DataFrame:
    """The table with all arms of a phase in one row, and a last row of all that this study has spent itself.

    A bank's runs are its blocks, which the last row does not count.

    A figure that a part of the runs does not have is empty.
    """
    own = table[~table["spent_earlier"].astype(bool)]
    groups = [(phase, part) for phase in PHASES.values() if len(part := table[table["phase"].eq(phase)])]
    rows = []
    for phase, part in groups:
        for earlier in (False, True):
            if len(some := part[part["spent_earlier"].astype(bool).eq(earlier)]):
                rows.append({"phase": phase, "spent_earlier": earlier} | _together(some))
    runs = int(own[own["phase"].ne(PHASES[BANK])]["runs"].sum())  # a bank's blocks are no runs
    rows.append({"phase": TOGETHER, "spent_earlier": False} | _together(own) | {"runs": runs})
    return pd.DataFrame(rows, columns=["phase", *COST_TABLE_COLUMNS[4:]])


def by_method(table: pd.DataFrame) -> pd.DataFrame:
    """The table with all phases of a method on a student in one row, those of repeated searches too."""
    arms = table[table["arm"].ne("")]
    rows = [
        {"method": method, "student": student} | _together(part)
        for (method, student), part in arms.groupby(["method", "student"], sort=False)
    ]
    return pd.DataFrame(rows, columns=["method", "student", *COST_TABLE_COLUMNS[5:]])


def _together(part: pd.DataFrame) -> dict[str, object]:
    """The sums and peaks of some rows; estimates of rows that have one."""
    done = part[part["runs"].gt(0)]
    figures: dict[str, object] = {"runs": int(done["runs"].sum())}
    for name in ("macs", "money", *SPENDING):
        values = done[name]
        figures[name] = values.max() if name in PEAKS else values.sum(min_count=max(1, len(values)))
        if values.isna().any():
            figures[name] = np.nan
    for name in PLANNED:
        figures[f"planned_{name}"] = part[f"planned_{name}"].sum(min_count=1)
    return figures
