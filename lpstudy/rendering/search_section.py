"""The report's section on the search: how far each arm's was, and best values at an end of their ranges."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from lpstudy.figures.style import signed
from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, escape, table
from lpstudy.tables.search_quality import EDGE, ENOUGH_TRIALS, LATE, ArmSearch, Edge

_MOST_ARMS = 3
"""Arms that a sentence names; it counts the others."""


@dataclass(frozen=True, slots=True)
class SearchSection:
    """The parts of the section."""

    table: Markdown
    progress: tuple[Markdown, ...]
    """Sentences on the best so far."""
    edges: Markdown | None
    """The table of best values at an end; None where there is none."""
    edge_words: Markdown | None
    """How many of the best values are; None where no range of numbers was searched."""


def search_section(arm_searches: Sequence[ArmSearch]) -> SearchSection | None:
    """The section; None where no trial has started."""
    if not arm_searches:
        return None
    edges = [(search, edge) for search in arm_searches for edge in search.edges]
    values = sum(len(one.result.arm.numbers) for one in arm_searches if one.result.winner is not None)
    return SearchSection(
        table=_table(arm_searches),
        progress=tuple(_progress(arm_searches)),
        edges=_edges(edges) if edges else None,
        edge_words=_edge_words(len(edges), values) if values else None,
    )


def _table(arm_searches: Sequence[ArmSearch]) -> Markdown:
    heads = (
        "method", "student", "trials", "all epochs", "best validation %", "flat since trial", "second half",
        "training MACs", "until the best",
    )  # fmt: skip
    rows = [
        (
            code(one.result.arm.method),
            _student(one),
            len(one.progress),
            len(one.full_budget),
            _number(one.best),
            cell_text.NOTHING if one.flat_since is None else one.flat_since,
            _points(one.gain_of_second_half),
            cell_text.count(one.cost("macs")[0]),
            _share(*one.cost("macs")),
        )
        for one in arm_searches
    ]
    return table(heads, rows, left_aligned=2)


def _progress(arm_searches: Sequence[ArmSearch]) -> list[Markdown]:
    """Sentences on how late the best rose, and by how much."""
    long = [one for one in arm_searches if one.best_place is not None and len(one.progress) >= 4]
    if not long:
        return [Markdown("With fewer than four trials an arm's search says nothing of how far it has come.")]
    gains = [one.gain_of_second_half for one in long if np.isfinite(one.gain_of_second_half)]
    late = sorted((one for one in long if one.is_late), key=lambda one: -_gain(one))
    by_chance = sum(1 - ceil(LATE * len(one.progress)) / len(one.progress) for one in long)
    sentences = [
        Markdown(
            f"The best rose for the last time in the last quarter of the trials in {len(late)} of {len(long)}"
            f" {'arm' if len(long) == 1 else 'arms'}; with as many trials that learn nothing from each other"
            f" it does in about {by_chance:.1f}."
        )
    ]
    if gains:
        sentences.append(
            Markdown(
                f"Over the second half of the trials it rose by {min(gains):.2f} to {max(gains):.2f} points,"
                f" the median arm by {float(np.median(gains)):.2f}."
            )
        )
    if late:
        names = [
            f"{code(one.result.arm.method)} on {_student(one)}"
            f" (trial {one.flat_since}, {_points(_gain(one))} points since half)"
            for one in late[:_MOST_ARMS]
        ]
        more = len(late) - len(names)
        names += [f"{more} more"] if more else []
        sentences.append(Markdown(f"Not flat yet: {cell_text.listing(names)}; more trials may raise them."))
    return sentences


def _student(search: ArmSearch) -> Markdown:
    """The student, and which search of the arm it is where it is not the first."""
    arm = search.result.arm
    return code(arm.student) if arm.search == 1 else Markdown(f"{code(arm.student)}, search {arm.search}")


def _edge_words(count: int, values: int) -> Markdown:
    return Markdown(
        f"{count} of {values} best values lie within {100 * EDGE:.0f} % of an end of their range, on its own"
        " scale; of values drawn at random one in ten does."
    )


def _edges(edges: Sequence[tuple[ArmSearch, Edge]]) -> Markdown:
    rows = [
        (
            code(one.result.arm.method),
            _student(one),
            code(edge.name),
            _range(edge),
            _next(edge),
            cell_text.value(edge.value),
            edge.end,
        )
        for one, edge in edges
    ]
    heads = ("method", "student", "hyperparameter", "searched", "search instead", "best", "end")
    return table(heads, rows, left_aligned=5)


def _range(edge: Edge) -> str:
    return f"{edge.space.low:g} to {edge.space.high:g}" + (", log" if edge.space.log else "")


def _next(edge: Edge) -> Markdown:
    if not edge.next_range:
        return Markdown("goes no further")
    head = f"[[{edge.space.section}]]" if edge.space.section == "students" else f"[{edge.space.section}]"
    return Markdown(f"{code(edge.next_range)} in {escape(head)}")


def _gain(search: ArmSearch) -> float:
    gain = search.gain_of_second_half
    return gain if np.isfinite(gain) else 0.0


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else cell_text.NOTHING


def _points(value: float) -> str:
    return signed(value) if np.isfinite(value) else cell_text.NOTHING


def _share(total: float, part: float) -> str:
    return f"{100 * part / total:.0f} %" if np.isfinite(part) and total > 0 else cell_text.NOTHING


def importance_note(arm_searches: Sequence[ArmSearch]) -> Markdown:
    """What importances rest on, and which arms have none."""
    enough = [one for one in arm_searches if one.can_tell_importances]
    if not enough:
        return Markdown(
            f"No arm has two hyperparameters and {ENOUGH_TRIALS} trials that ran all their epochs: too few to"
            " tell which hyperparameters matter."
        )
    counts = [len(one.full_budget) for one in enough]
    number = f"{counts[0]}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    rest = len(arm_searches) - len(enough)
    others = f" {rest} of {len(arm_searches)} arms have fewer, or one hyperparameter." if rest else ""
    return Markdown(
        "Importance is the share of the variance of validation accuracy that a hyperparameter explains by"
        " itself, of what all of the arm do (functional ANOVA). It rests on the trials that ran all epochs,"
        f" {number} for each arm shown.{others} The shares sum to 1 even where nothing matters."
    )
