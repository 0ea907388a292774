"""Methods over several studies, as Markdown and as a table for the terminal."""

from collections.abc import Sequence
from math import isfinite

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, escape, join, render, table
from lpstudy.tables.across_studies import (
    FEWEST_STUDIES,
    RIVALS,
    Block,
    Ranking,
    methods_of,
    outcome,
    tally,
)
from lpstudy.tables.intervals import LEVEL
from lpstudy.tables.text import without_control_characters
from lpstudy.tables.verdicts import Verdict

_MOST_PAIRS = 10
"""Pairs that a sentence names; it counts the others."""
_LONGEST = 20
"""Letters of a name on the terminal."""
_SIGNS = {"win": "better", "tie": "within noise", "loss": "worse", "": ""}


def comparison_text(blocks: Sequence[Block], ranked: Ranking) -> str:
    """The comparison of studies as Markdown."""
    studies = dict.fromkeys(block.study for block in blocks)
    return render(
        "compare.md.j2",
        studies=join(map(code, studies), ", "),
        count=_studies(len(studies)),
        methods=_method_table(blocks, ranked),
        rank_words=rank_words(blocks, ranked),
        outcomes=[(rival, _outcome_table(blocks, rival)) for rival in RIVALS],
        notes=_notes(blocks),
    )


def console_lines(blocks: Sequence[Block], ranked: Ranking) -> list[str]:
    """The table of methods as fixed-width text, and the words on ranks."""
    heads = ("method", *(f"vs {rival}" for rival in RIVALS), "mean rank")
    rows = [tuple(map(_short, row)) for row in _rows(blocks, ranked)]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, tuple("─" * width for width in widths), *rows)
    ]
    words = [without_control_characters(one.replace("`", "")) for one in rank_words(blocks, ranked)]
    return [
        *lines,
        "",
        "vs: wins-ties-losses by the corrected test of each study; in parentheses not compared",
        *words,
    ]


def rank_words(blocks: Sequence[Block], ranked: Ranking) -> list[Markdown]:
    """Sentences on what the mean ranks rest on, and on the Friedman test."""
    if len(ranked.methods) < 2 or not ranked.blocks:
        return [
            Markdown("No two methods have results of one size in one block of every study: no mean ranks.")
        ]
    studies = len(ranked.of_studies)
    sentences = [
        Markdown(
            f"Mean ranks are of {len(ranked.methods)} methods over the {len(ranked.blocks)} of {len(blocks)}"
            f" blocks that all of them share, of {_studies(studies)}; 1 is the highest mean test accuracy."
        )
    ]
    test = ranked.test
    if test is None:
        few = f"{_studies(studies)} {'is' if studies == 1 else 'are'} too few for a Friedman test"
        return [
            *sentences,
            Markdown(f"{few}, which needs {FEWEST_STUDIES}: the ranks describe, they claim nothing."),
        ]
    sentences.append(
        Markdown(
            f"Friedman test over {studies} studies: F = {test.f:.2f} (Iman and Davenport), p ="
            f" {test.p_value:.3g}; critical difference of two mean ranks over studies"
            f" {test.critical_difference:.2f} (Nemenyi, 5 %)."
        )
    )
    if not test.p_value < LEVEL:
        return [*sentences, Markdown("No method is told from another by its ranks.")]
    order = sorted(zip(test.mean_ranks, ranked.methods, strict=True))
    pairs = [
        f"{code(better)} before {code(worse)}"
        for place, (rank, better) in enumerate(order)
        for other, worse in order[place + 1 :]
        if other - rank > test.critical_difference
    ]
    if not pairs:
        return [
            *sentences,
            Markdown("Some method differs, but no pair by more than the critical difference."),
        ]
    more = len(pairs) - _MOST_PAIRS
    names = pairs[:_MOST_PAIRS] + ([f"{more} more pairs"] if more > 0 else [])
    return [*sentences, Markdown(f"Beyond it: {cell_text.listing(names)}.")]


def _rows(blocks: Sequence[Block], ranked: Ranking) -> list[tuple[str, ...]]:
    means = ranked.mean
    methods = sorted(methods_of(blocks), key=lambda one: means.get(one, float("inf")))
    return [
        (method, *(_tally(blocks, method, rival) for rival in RIVALS), _rank(means.get(method)))
        for method in methods
    ]


def _method_table(blocks: Sequence[Block], ranked: Ranking) -> Markdown:
    heads = ("method", *(f"against {code(rival)}" for rival in RIVALS), "mean rank")
    rows = [(code(method), *cells) for method, *cells in _rows(blocks, ranked)]
    return table([Markdown(head) for head in heads], rows)


def _tally(blocks: Sequence[Block], method: str, rival: str) -> str:
    if method == rival:
        return cell_text.NOTHING
    score = tally(blocks, method, rival)
    skipped = f" ({score.not_compared})" if score.not_compared else ""
    return f"{score.wins}-{score.ties}-{score.losses}{skipped}"


def _outcome_table(blocks: Sequence[Block], rival: str) -> Markdown:
    """One row for each method: its outcome in each block that has the rival, with the difference."""
    own = [block for block in blocks if rival in block.against]
    heads = [Markdown(f"{code(block.study)}, {code(block.student)}") for block in own]
    rows = [
        (code(method), *(escape(_outcome(block.against[rival].get(method))) for block in own))
        for method in methods_of(own)
        if method != rival
    ]
    return table(["method", *heads], rows)


def _outcome(verdict: Verdict | None) -> str:
    if verdict is None or not verdict.delta.n:
        return cell_text.NOTHING
    return f"{cell_text.difference(verdict.delta)} {_SIGNS[outcome(verdict)]}".strip()


def _notes(blocks: Sequence[Block]) -> list[Markdown]:
    """A note on each name that stands for different methods in different studies."""
    by_name: dict[str, dict[str, str]] = {}
    for block in blocks:
        for result in block.results:
            arm = result.arm
            by_name.setdefault(arm.method, {})[block.study] = arm.fixed.get("method", arm.method)
    return [
        Markdown(
            f"{code(name)} is not one method: "
            + ", ".join(f"{code(loss)} in {code(study)}" for study, loss in losses.items())
            + "."
        )
        for name, losses in by_name.items()
        if len(set(losses.values())) > 1
    ]


def _rank(value: float | None) -> str:
    return cell_text.NOTHING if value is None or not isfinite(value) else f"{value:.2f}"


def _studies(number: int) -> str:
    return "1 study" if number == 1 else f"{number} studies"


def _short(text: str) -> str:
    line = without_control_characters(text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
