"""The report's sections on fronts: their designs and hypervolume, and the best student for a budget."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, bold, code, escape, table
from lpstudy.tables.arms import ArmResult, number
from lpstudy.tables.budgets import BudgetChoice
from lpstudy.tables.facts import StudyFacts
from lpstudy.tables.front import Front, macs_of
from lpstudy.tables.intervals import Interval
from lpstudy.tables.study_results import StudyResults

_MAX_NAMES = 3
"""Designs within noise that a cell names; it counts the others."""
_UNITS = {"macs": "MACs", "parameters": "parameters", "latency_ms": "ms"}


@dataclass(frozen=True, slots=True)
class FrontSection:
    """The parts of the sections; None where there is nothing to show."""

    hypervolume: Markdown | None
    designs: Markdown | None
    budgets: Markdown | None
    sentences: tuple[Markdown, ...] = ()
    """What the fronts say of each student whose size is searched."""


def front_section(results: StudyResults) -> FrontSection:
    """The tables of fronts, of their designs, and of the best student for each budget."""
    return FrontSection(
        _hypervolumes(results.fronts),
        _designs(results.facts, results.fronts),
        _budgets(results.budget_choices),
        tuple(_sentences(results.fronts)),
    )


def _sentences(all_fronts: Sequence[Front]) -> Iterator[Markdown]:
    """The methods whose fronts are better or worse than back-prop's, for each student."""
    for student in dict.fromkeys(front.result.arm.student for front in all_fronts):
        compared = [one for one in all_fronts if one.result.arm.student == student and one.delta.n > 1]
        if not compared:
            continue
        words = []
        for title, sign in (("better", 1), ("worse", -1)):
            names = [
                f"{code(one.result.arm.method)} ({cell_text.difference(one.delta)})"
                for one in compared
                if one.is_beyond_noise and sign * one.delta.mean > 0
            ]
            words += [f"**{title} than back-prop beyond noise**: {cell_text.listing(names)}"] if names else []
        verdict = "; ".join(words) or "no method's front differs from back-prop's beyond noise"
        yield Markdown(
            f"Over the sizes of {code(student)}, by the accuracy that each front reaches for its MACs"
            f" (hypervolume, in points), {verdict}."
        )


def _hypervolumes(all_fronts: Sequence[Front]) -> Markdown | None:
    """The table of hypervolumes; bold is a difference to back-prop beyond noise."""
    if not all_fronts:
        return None
    heads = ("method", "student", "designs", "MACs", "hypervolume % (n)", "Δ `bp`")
    rows = []
    for front in all_fronts:
        sizes = [cell_text.count(macs_of(one)) for one in (front.designs[0], front.designs[-1])]
        delta = cell_text.difference(front.delta)
        rows.append(
            (
                code(front.result.arm.method),
                escape(front.result.arm.student),
                str(len(front.designs)),
                " to ".join(dict.fromkeys(sizes)),
                _with_n(front.scores.mean),
                bold(delta) if front.is_beyond_noise else escape(delta),
            )
        )
    return table([Markdown(head) for head in heads], rows, left_aligned=2)


def _designs(study: StudyFacts, all_fronts: Sequence[Front]) -> Markdown | None:
    """The table of the fronts' designs."""
    if not all_fronts:
        return None
    latency_head = [f"ms ({study.latency.target})"] if study.latency and study.latency.rows else []
    heads = ("method", "design", "MACs", "params", *latency_head, "validation %", "test accuracy % (n)")
    rows = []
    for front in all_fronts:
        for design in front.designs:
            row = study.latency.single_image(design.winner_label) if study.latency else None
            ms = cell_text.NOTHING if row is None else f"{row.median_ms:.3g}"
            parameters = None if design.winner is None else number(design.winner["parameters"])
            rows.append(
                (
                    code(front.result.arm.method),
                    escape(design.winner_label),
                    cell_text.count(macs_of(design)),
                    cell_text.count(parameters),
                    *([ms] if latency_head else []),
                    f"{design.selected_by:.2f}",
                    _with_n(design.accuracy),
                )
            )
    return table([Markdown(head) for head in heads], rows, left_aligned=2)


def _budgets(choices: Sequence[BudgetChoice]) -> Markdown | None:
    """The table of the best student for each budget."""
    if not choices:
        return None
    heads = ("at most", "method", "design", "within noise of it", "test accuracy % (n)")
    rows = [
        (
            f"{_amount(one)} {_UNITS[one.cost]}",
            code(one.chosen.arm.method),
            escape(one.chosen.winner_label),
            _rivals(one),
            _with_n(one.chosen.accuracy),
        )
        for one in choices
    ]
    return table([Markdown(head) for head in heads], rows, left_aligned=4)


def _amount(choice: BudgetChoice) -> str:
    return f"{choice.budget:.3g}" if choice.cost == "latency_ms" else cell_text.count(choice.budget)


def _rivals(choice: BudgetChoice) -> Markdown:
    """Some of the designs that are within noise of the chosen one, and how many others are."""
    if not choice.others:
        return Markdown("no other design")
    names = [_name(one) for one in choice.rivals[:_MAX_NAMES]]
    more = len(choice.rivals) - len(names)
    names += [Markdown(f"{more} more")] if more else []
    count = len(choice.rivals) or "none"
    return Markdown(f"{count} of {choice.others}{': ' * bool(names)}{', '.join(names)}")


def _name(design: ArmResult) -> Markdown:
    return Markdown(f"{code(design.arm.method)} {escape(design.winner_label)} ({design.accuracy.mean:.2f})")


def _with_n(value: Interval) -> str:
    return f"{cell_text.accuracy(value)} ({value.n})" if value.n else cell_text.NOTHING
