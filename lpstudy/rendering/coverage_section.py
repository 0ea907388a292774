"""The report's section on what its intervals cover and leave out, with the parts of the variance."""

import pandas as pd

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, escape, table
from lpstudy.tables.facts import FinalsFacts

HEADS = (
    "student",
    "source",
    "of an accuracy",
    "of a difference to bp",
    "degrees of freedom",
    "in the intervals",
)


def coverage_lines(finals: FinalsFacts) -> list[Markdown]:
    """What the intervals leave out, how trials became finals, and why there are so many seeds."""
    lines = [_SEARCH if finals.searches == 1 else _searches(finals.searches)]
    missing = [source for source in ("teacher", "split") if source not in finals.vary]
    if missing:
        sources = ", ".join(f'"{one}"' for one in ("seed", *missing))
        them = "them" if len(missing) > 1 else "it"
        verb = "are those" if len(missing) > 1 else "is that"
        lines.append(
            f"The {cell_text.listing([*missing])} {verb} of one draw, the same in every final:"
            f" `[finals] vary = [{sources}]` draws {them} anew for each seed."
        )
    if finals.teachers:
        low, high = min(finals.teachers), max(finals.teachers)
        lines.append(
            f"Each seed of the finals has a teacher of its own: {len(finals.teachers)} teachers with"
            f" {low:.2f} to {high:.2f} % test accuracy."
        )
    if finals.candidates > 1:
        lines.append(
            f"The {finals.candidates} best trials of an arm were trained again on three seeds that neither"
            " search nor finals have; the one of the highest mean validation accuracy went to the finals."
        )
    return [Markdown(line) for line in lines] + [escape(f"Seeds of {line}.") for line in finals.decisions]


_SEARCH = (
    "The search is left out: another search of the same method finds another winner. In A/A studies of"
    " digits, one method under several names, the winners of two searches differ by 0.4 to 0.5 points"
    " (standard deviation), and 6 to 8 % of comparisons of a method with itself claim a difference."
    " `[finals] searches = 2` repeats each search and puts the spread into the intervals."
)


def _searches(count: int) -> str:
    return (
        f"Each method was searched {count} times; its accuracy is the mean of the searches' winners, and the"
        " spread between them, pooled over the methods, is in every interval."
    )


def variance_section(frame: pd.DataFrame) -> Markdown | None:
    """The parts of the variance as a table; None without any."""
    if not len(frame):
        return None
    rows = [
        (
            code(row["student"]),
            escape(row["source"]),
            _points(row["accuracy_sd"]),
            _points(row["difference_sd"]),
            cell_text.count(row["degrees"]),
            Markdown("yes" if row["in_intervals"] else "no"),
        )
        for _, row in frame.iterrows()
    ]
    return table(HEADS, rows, left_aligned=2)


def _points(value: float) -> Markdown:
    return Markdown(cell_text.NOTHING if pd.isna(value) else f"{value:.2f}")
