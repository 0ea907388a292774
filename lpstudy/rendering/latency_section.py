"""The report's section on latency: a table, the machine, and where MACs mislead."""

from dataclasses import dataclass

import pandas as pd

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, escape, table
from lpstudy.tables.latency import MOST_PAIRS, RUNTIME, TEACHER_MODEL, LatencyFacts, rank_changes


@dataclass(frozen=True, slots=True)
class LatencySection:
    """The parts of the section."""

    table: Markdown
    machine: Markdown
    ranking: tuple[Markdown, ...]
    """Sentences on MACs and latency."""
    skipped: tuple[Markdown, ...]


def latency_section(facts: LatencyFacts | None, comparison: pd.DataFrame) -> LatencySection | None:
    """The section; None where nothing was measured.

    Args:
        facts: The latencies.
        comparison: The table of `tables.comparison`.
    """
    if facts is None or not facts.rows:
        return None
    heads = ["network", *(f"{target}, {batch} × {runtime}" for target, batch, runtime in facts.columns)]
    models = list(dict.fromkeys(row.model for row in facts.rows))
    rows = [(code(model), *(_cell(facts, model, *column) for column in facts.columns)) for model in models]
    return LatencySection(
        table=table(heads, rows),
        machine=escape(facts.machine),
        ranking=tuple(_ranking(facts, _macs(comparison))),
        skipped=tuple(escape(line) for line in facts.skipped),
    )


def _cell(facts: LatencyFacts, model: str, target: str, batch: int, runtime: str) -> str:
    row = facts.find(model, target, batch, runtime)
    return cell_text.NOTHING if row is None else f"{row.median_ms:.3g} ({row.p95_ms:.3g})"


def _macs(comparison: pd.DataFrame) -> dict[str, float]:
    students = comparison[comparison["method"].ne(TEACHER_MODEL) & comparison["macs"].notna()]
    return {
        str(label): float(macs) for label, macs in zip(students["student"], students["macs"], strict=True)
    }


def _ranking(facts: LatencyFacts, macs: dict[str, float]) -> list[Markdown]:
    measured = [label for label in macs if facts.single_image(label) is not None]
    if len(measured) < 2:
        return []
    where = f"{facts.target}, one image, {RUNTIME}"
    changes = rank_changes(facts, macs)
    if not changes:
        return [Markdown(f"MACs and latency ({where}) rank the students alike.")]
    lines = [
        Markdown(
            f"{code(one.smaller)} has {one.macs_ratio:.2g} times the MACs of {code(one.larger)}, but takes"
            f" {one.time_ratio:.2g} times as long ({where})."
        )
        for one in changes[:MOST_PAIRS]
    ]
    more = len(changes) - MOST_PAIRS
    return [*lines, Markdown(f"{more} more pairs are ranked differently.")] if more > 0 else lines
