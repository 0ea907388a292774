"""The report's line on what would decide the comparisons that are still open."""

from collections.abc import Iterable, Sequence

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code
from lpstudy.tables.verdicts import Verdict

_MAX_PAIRS = 3
"""Comparisons that the line names; it counts the others."""


def open_questions(undecided: Sequence[Verdict], every: Iterable[Verdict]) -> Markdown | None:
    """What would decide more, in one line; None where nothing is compared.

    Args:
        undecided: The comparisons without a finding, the most important ones first.
        every: The comparisons of all arms with back-prop.
    """
    start = "**What would decide more:**"
    seeds = sorted({one.delta.n for one in undecided})
    if not seeds:
        every = list(every)
        if any(one.differs_in_size for one in every):
            return Markdown(f"{start} students of one depth and width, for winners of one size are compared.")
        is_decided = any(one.tests for one in every)
        return Markdown(f"{start} no difference to back-prop is open.") if is_decided else None
    if seeds[-1] == 1:
        return Markdown(f"{start} more seeds, five or so: one tells nothing of how far seeds spread.")
    pairs = [_pair(one) for one in undecided if one.delta.n > 1]
    more = len(undecided) - len(pairs[:_MAX_PAIRS])
    names = pairs[:_MAX_PAIRS] + ([f"{more} more"] if more else [])
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return Markdown(f"{start} of what is within noise with {count} seeds, {cell_text.listing(names)}.")


def _pair(verdict: Verdict) -> str:
    """The two methods, their student, and the detectable difference."""
    arm, rival = verdict.result.arm, verdict.rival
    against = f" against {code(rival.arm.method)}" if rival is not None else ""
    return f"{code(arm.method)}{against} on {code(arm.student)} ({cell_text.doubt(verdict)})"
