"""The comparison on a terminal."""

from collections.abc import Mapping, Sequence

import pandas as pd

from lpstudy.rendering import cell_text
from lpstudy.tables.text import without_control_characters

_HEADS = (
    "method",
    "student",
    "test accuracy %",
    "n",
    "Δ bp",
    "params",
    "smaller",
    "MACs",
    "cheaper",
    "trials",
)
_LEFT = 2
_LONGEST = 20


def console_table(comparison: pd.DataFrame) -> str:
    """The comparison as fixed-width text of at most 110 columns; trials are finished/pruned/failed."""
    records = comparison.astype("object").to_dict("records")
    rows = [_cells({str(name): value for name, value in row.items()}) for row in records]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    rule = "  ".join("─" * width for width in widths)
    lines = [_line(_HEADS, widths), rule, *(_line(row, widths) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = (
        cell.ljust(width) if column < _LEFT else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(aligned).rstrip()


def _cells(row: Mapping[str, object]) -> tuple[str, ...]:
    states = [cell_text.count(row[f"trials_{state}"]) for state in ("finished", "pruned", "failed")]
    return (
        _short(row["method"]),
        _short(row["student"]),
        cell_text.accuracy(cell_text.interval_of(row, "accuracy")),
        cell_text.count(row["seeds"]),
        cell_text.difference(cell_text.interval_of(row, "delta_bp")),
        cell_text.count(row["parameters"]),
        cell_text.ratio(row["compression"]),
        cell_text.count(row["macs"]),
        cell_text.ratio(row["speedup"]),
        cell_text.NOTHING if cell_text.NOTHING in states else "/".join(states),
    )


def _short(text: object) -> str:
    line = without_control_characters(str(text))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
