"""The report's section on what the study has cost, by phase and by arm."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, escape, table
from lpstudy.spending import BANK, PHASES, Prices
from lpstudy.tables.costs import TOGETHER, by_method, by_phase
from lpstudy.tables.facts import StudyFacts

Cell = Callable[[object], str]


@dataclass(frozen=True, slots=True)
class CostSection:
    """The parts of the section."""

    phases: Markdown
    arms: Markdown
    """What each method has spent on its own runs, all phases together."""
    has_plan: bool


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    head: str
    cell: Cell


def cost_section(study: StudyFacts, costs: pd.DataFrame) -> CostSection | None:
    """The section; None where no run has measured what it spends.

    Args:
        study: The study's facts.
        costs: The table of `tables.costs`.
    """
    if costs.empty:
        return None
    columns = _columns(study.prices, costs)
    heads = [column.head for column in columns]

    def cells(row: "pd.Series[Any]") -> list[str]:
        runs, *others = (column.cell(row[column.name]) for column in columns)
        words = "block" if runs == "1" else "blocks"
        return [f"{runs} {words}" if row["phase"] == PHASES[BANK] else runs, *others]

    phases = [
        (_phase(row["phase"], is_earlier=bool(row["spent_earlier"])), *cells(row))
        for _, row in by_phase(costs).iterrows()
    ]
    arms = [
        (code(row["method"]), escape(row["student"]), *(column.cell(row[column.name]) for column in columns))
        for _, row in by_method(costs).iterrows()
    ]
    return CostSection(
        phases=table(["phase", *heads], phases),
        arms=table(["method", "student", *heads], arms, left_aligned=2),
        has_plan=bool(study.estimate),
    )


def _phase(words: object, *, is_earlier: bool) -> Markdown:
    if words == TOGETHER:
        return Markdown("**this study together**")
    return escape(f"{words}, spent earlier" if is_earlier else words)


def _columns(prices: Prices, costs: pd.DataFrame) -> list[_Column]:
    """The columns that have a number."""
    money = _money_cell(prices)
    figures = (
        ("cpu_seconds", "CPU time", cell_text.span),
        ("gpu_seconds", "GPU time", cell_text.span),
        ("wall_seconds", "wall time of runs", cell_text.span),
        ("macs", "MACs", cell_text.count),
        ("peak_bytes", "peak memory", cell_text.size),
        ("peak_gpu_bytes", "peak GPU memory", cell_text.size),
        ("cpu_joules", "CPU energy", cell_text.energy),
        ("gpu_joules", "GPU energy", cell_text.energy),
        ("money", "price", money),
    )
    columns = [_Column("runs", "runs", cell_text.count)]
    for name, head, cell in figures:
        for column, words in ((name, head), (f"planned_{name}", "planned")):
            if column in costs and (costs[column] > 0).any():
                columns.append(_Column(column, words, cell))
    return columns


def _money_cell(prices: Prices) -> Cell:
    def words(value: object) -> str:
        number = cell_text.real(value)
        if number is None:
            return cell_text.NOTHING
        return f"{'<0.01' if 0 < number < 0.01 else f'{number:,.2f}'} {prices.currency}".rstrip()

    return words
