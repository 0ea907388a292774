"""The report's tables of accuracy on shifted test images."""

from collections.abc import Sequence

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, bold, code, escape, table
from lpstudy.tables.shift import MEAN, RIVALS, ShiftRow


def shift_section(rows: Sequence[ShiftRow]) -> Markdown | None:
    """For each family of corruptions the means over them by severity; one table of all other data sets."""
    tables = []
    for family in dict.fromkeys(row.family for row in rows if row.corruption == MEAN):
        own = [row for row in rows if row.family == family]
        count = len({row.corruption for row in own}) - 1
        words = f"{count} corruption{'s' * (count > 1)}"
        means = _table([row for row in own if row.corruption == MEAN])
        tables.append(f"{escape(family)}, mean over {words}:\n\n{means}")
    others = [row for row in rows if row.corruption == row.family]
    if others:
        tables.append(f"Other data sets:\n\n{_table(others, names=True)}")
    return Markdown("\n\n".join(tables)) if tables else None


def _table(rows: Sequence[ShiftRow], *, names: bool = False) -> Markdown:
    """One line for each arm: accuracy by severity, then over all; or for each arm and data set."""
    severities = list(dict.fromkeys(row.severity for row in rows if row.severity is not None))
    third = [row for row in rows if row.method not in RIVALS]
    rivals = [one for one in RIVALS if any(_has_difference(row, one) for row in third)] or [RIVALS[0]]
    heads = [
        "method", "student", *(["data set"] if names else []), *(f"severity {one}" for one in severities),
        "accuracy %" if names else "mean %", "of clean %", *(f"Δ `{one}`" for one in rivals),
    ]  # fmt: skip
    groups: dict[tuple[str, str], list[ShiftRow]] = {}
    for row in rows:
        groups.setdefault((row.arm, row.family if names else ""), []).append(row)
    cells = []
    for of_arm in groups.values():
        by_severity = {row.severity: row for row in of_arm}
        whole = by_severity.get(None, of_arm[-1])
        cells.append(
            (
                code(whole.method) if whole.arm else "teacher",
                escape(whole.student),
                *([escape(whole.family.partition("/")[2])] if names else []),
                *(_accuracy(by_severity.get(one)) for one in severities),
                _accuracy(whole),
                f"{whole.relative:.1f}" if whole.accuracy.n and whole.relative > 0 else cell_text.NOTHING,
                *(_difference(whole, rival) for rival in rivals),
            )
        )
    return table([Markdown(head) for head in heads], cells, left_aligned=3 if names else 2)


def _has_difference(row: ShiftRow, rival: str) -> bool:
    return rival in row.differences and row.differences[rival].delta.n > 0


def _accuracy(row: ShiftRow | None) -> str:
    return cell_text.NOTHING if row is None else cell_text.accuracy(row.accuracy)


def _difference(row: ShiftRow, rival: str) -> str:
    """The difference to a rival, in bold type beyond noise."""
    if not _has_difference(row, rival):
        return cell_text.NOTHING
    words = cell_text.difference(row.differences[rival].delta)
    return bold(words) if row.differences[rival].is_beyond_noise else escape(words)
