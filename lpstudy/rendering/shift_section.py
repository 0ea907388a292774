"""The report's table of accuracy on corrupted test images."""

from collections.abc import Sequence

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, escape, table
from lpstudy.tables.shift import MEAN, ShiftRow


def shift_section(rows: Sequence[ShiftRow]) -> Markdown | None:
    """Mean accuracy over the corruptions by severity, in percent of clean, and less that of back-prop."""
    means = [row for row in rows if row.corruption == MEAN]
    if not means:
        return None
    severities = list(dict.fromkeys(row.severity for row in means if row.severity is not None))
    heads = [
        "method", "student", *(f"severity {one}" for one in severities), "mean %", "of clean %", "Δ `bp`",
    ]  # fmt: skip
    by_arm: dict[str, list[ShiftRow]] = {}
    for row in means:
        by_arm.setdefault(row.result.arm.name, []).append(row)
    cells = [
        (
            code(of_arm[0].result.arm.method),
            escape(of_arm[0].result.winner_label),
            *(cell_text.accuracy(row.accuracy) for row in of_arm),  # the mean over severities is last
            cell_text.NOTHING if not of_arm[-1].accuracy.n else f"{of_arm[-1].relative:.1f}",
            escape(cell_text.difference(of_arm[-1].delta)),
        )
        for of_arm in by_arm.values()
    ]
    return table([Markdown(head) for head in heads], cells, left_aligned=2)
