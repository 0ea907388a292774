"""The sentences of the answer: rivals, other methods, sizes, failures, the teacher."""

from collections.abc import Sequence
from math import isfinite

import pandas as pd

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import code
from lpstudy.tables.arms import BASELINE, ArmResult, number
from lpstudy.tables.facts import TeacherFacts
from lpstudy.tables.intervals import pareto_front
from lpstudy.tables.open_comparisons import leads_over_methods, unclear_rivals
from lpstudy.tables.paired_tests import outperforming
from lpstudy.tables.selection import unselected_accuracy
from lpstudy.tables.verdicts import Verdict

_MAX_NAMES = 3
"""Rivals that a sentence names; it counts the others."""


def lead_over_rivals(best: ArmResult, results: Sequence[ArmResult], beats_all: bool) -> str:
    """The lead of the highest mean over the methods other than back-prop; `beats_all`: over all of them."""
    rivals = leads_over_methods(best, results)
    unclear = unclear_rivals(best, results)
    if beats_all and rivals:
        nearest = min(rivals, key=lambda one: one.delta.mean)
        return f"Its lead over the next, {_rival_words(nearest)}, is beyond noise."
    if not unclear:
        return ""
    names = [_rival_words(one) for one in unclear[:_MAX_NAMES]]
    more = len(unclear) - len(names)
    if more:
        names.append(f"{more} other{'s' * (more > 1)}")
    return f"Its lead over {cell_text.listing(names)} is within noise."


def _rival_words(lead: Verdict) -> str:
    """The rival and the lead over it."""
    name = code(lead.rival.arm.method) if lead.rival is not None else ""
    is_single = lead.is_within_noise and lead.delta.excludes_zero
    doubt = f", beyond noise alone, not as one of {lead.tests} comparisons" if is_single else ""
    return f"{name} ({cell_text.difference(lead.delta)}{doubt})"


def outperforming_words(verdict: Verdict) -> str:
    """The seeds with which a method beats its rival: ahead with 4 of 5 seeds, P(`kd` > `bp`) 0.28 to 0.99."""
    differences, rival = verdict.seed_differences, verdict.rival
    wins = sum(one > 0 for one in differences)
    share, method = outperforming(differences), code(verdict.result.arm.method)
    pair = f"P({method} > {code(rival.arm.method)})" if rival is not None else ""
    return f"ahead with {wins} of {cell_text.seeds(share.n)}, {pair} {share.low:.2f} to {share.high:.2f}"


def other_methods(others: Sequence[Verdict], *, best: Verdict | None = None) -> str:
    """The comparison of methods with back-prop; `best` is the method of the sentence before, if any."""
    groups = {
        "Also better than back-prop"
        if best is not None and best.is_better
        else "Better than back-prop beyond noise": [one for one in others if one.is_better],
        "Within noise of it"
        if best is not None and best.result.arm.method == BASELINE
        else "Within noise of back-prop": [one for one in others if one.is_within_noise],
        "Worse": [one for one in others if one.is_worse],
    }
    sentences = []
    for title, verdicts in groups.items():
        names = [
            f"{code(one.result.arm.method)} ({cell_text.difference(one.delta)}"
            + (f", {cell_text.doubt(one)})" if one.is_within_noise else ")")
            for one in verdicts
        ]
        if names:
            sentences.append(f"{title}: {cell_text.listing(names)}.")
    return " ".join(sentences)


def selected_mean(ranked: Sequence[Verdict]) -> str:
    """What the highest mean of several methods owes to chance."""
    results = [one.result for one in ranked if one.result.accuracy.n]
    accuracy = unselected_accuracy(results)
    if not isfinite(accuracy):
        return ""
    return (
        f"As the highest of {len(results)} means, {ranked[0].result.accuracy.mean:.2f} % may be too high by"
        f" chance: seeds that did not select the method give {accuracy:.2f} %."
    )


def two_seeds(group: Sequence[Verdict]) -> str:
    """A note on the limits of two seeds."""
    if not any(one.delta.n == 2 for one in group):
        return ""
    return (
        "Two seeds say next to nothing of how far seeds spread: most differences cannot be told from noise "
        "with them; five seeds or more can tell."
    )


def failures(group: Sequence[Verdict]) -> str:
    """The failed finals of each method, and the methods without a result."""
    sentences = []
    for result in (one.result for one in group):
        name, finals = code(result.arm.method), len(result.finals)
        if result.accuracy.n and result.failed_finals:
            sentences.append(
                f"{result.failed_finals} of the {finals} finals of {name} failed:"
                " its mean is that of the others, which flatters it."
            )
        elif result.has_failed:
            runs = f"all {finals} finals" if finals > 1 else "its final" if finals else "all of its trials"
            sentences.append(f"**{name} has no result**: {runs} failed.")
        elif not result.accuracy.n:
            sentences.append(f"{name} has no finished final yet.")
    return " ".join(sentences)


def winners_of_several_sizes(start: str, verdicts: Sequence[Verdict]) -> str:
    """The winners of a student whose searched sizes differ, which are not ranked.

    Args:
        start: The start of the sentence, which names the student.
        verdicts: The methods with a result.
    """
    winners = [
        f"{code(one.result.arm.method)} {cell_text.accuracy(one.result.accuracy)} %"
        f" ({cell_text.seeds(one.result.accuracy.n)}) with {_design(one.result)}"
        for one in verdicts
    ]
    other_sizes = [one for one in verdicts if one.differs_in_size]
    sentences = [
        f"{start} depth and width were searched and the winners are of different sizes, so that no method is "
        f"ranked above another: {cell_text.listing(winners)}.",
        _front(verdicts),
    ]
    if other_sizes and other_sizes[0].rival is not None:
        names = cell_text.listing([str(code(one.result.arm.method)) for one in other_sizes])
        base = code(other_sizes[0].rival.winner_label)
        sentences.append(
            f"Not compared with back-prop, whose winner is {base}: {names}, of different designs."
        )
    return " ".join(sentence for sentence in sentences if sentence)


def methods_with_added_parts(verdicts: Sequence[Verdict]) -> str:
    """The methods whose students are larger than the others', which are not compared with them."""
    names = [
        f"{code(one.result.arm.method)} {cell_text.accuracy(one.result.accuracy)} %"
        f" ({cell_text.seeds(one.result.accuracy.n)}) with {_design(one.result)}"
        for one in verdicts
    ]
    return f"Not compared, for their students have added parts: {cell_text.listing(names)}." if names else ""


def _design(result: ArmResult) -> str:
    """The winner's network with its parameters and MACs."""
    run = result.winner
    sizes = (number(run["parameters"]), number(run["macs"])) if run is not None else ()
    figures = [
        f"{cell_text.count(size)} {unit}" for size, unit in zip(sizes, ("parameters", "MACs"), strict=False)
    ]
    return f"{code(result.winner_label)} ({', '.join(figures)})"


def _front(verdicts: Sequence[Verdict]) -> str:
    """The Pareto front of the winners' mean accuracies and MACs, in a sentence."""
    frame = pd.DataFrame(
        {
            "method": [one.result.arm.method for one in verdicts],
            "accuracy": [one.result.accuracy.mean for one in verdicts],
            "macs": [
                number(one.result.winner["macs"]) if one.result.winner is not None else None
                for one in verdicts
            ],
        }
    )
    front = pareto_front(frame, accuracy="accuracy")
    names = cell_text.listing([str(code(method)) for method in front["method"]])
    return f"By their means, the Pareto front of accuracy and MACs has {names}." if names else ""


def compared_with_teacher(teacher: TeacherFacts, best: ArmResult) -> str:
    """The teacher's size relative to the winner's."""
    run = best.winner
    if run is None or pd.isna(run["parameters"]) or pd.isna(run["macs"]):
        return ""
    smaller = cell_text.ratio(teacher.parameters / int(run["parameters"]))
    cheaper = cell_text.ratio(teacher.macs / int(run["macs"]))
    accuracy = "" if teacher.test_accuracy is None else f" ({teacher.test_accuracy:.2f} %)"
    return f"The teacher{accuracy} has {smaller} its parameters and {cheaper} its MACs."
