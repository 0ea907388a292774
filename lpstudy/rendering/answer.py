"""The study's answer in plain words: which method is best, by how much, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lpstudy.rendering import words
from lpstudy.rendering.markdown import Markdown, code, join
from lpstudy.tables.arms import BASELINE, ArmResult, baseline_of
from lpstudy.tables.facts import ArmFacts, TeacherFacts
from lpstudy.tables.statistics import Interval


@dataclass(frozen=True, slots=True)
class _Result:
    of: ArmResult
    delta: Interval
    """To back-prop with the same student."""

    @property
    def arm(self) -> ArmFacts:
        return self.of.arm

    @property
    def accuracy(self) -> Interval:
        return self.of.accuracy


def answer(teacher: TeacherFacts, results: list[ArmResult]) -> list[Markdown]:
    """One paragraph, and where a study has several students a further one for each, the first being the sum.

    A difference counts as seen only where its 95 % interval over paired seeds excludes zero.
    """
    finished: dict[str, list[_Result]] = {result.arm.student: [] for result in results}
    for result in results:
        if result.accuracy.n:
            delta = result.difference(baseline_of(result, results))
            finished[result.arm.student].append(_Result(result, delta))
    if not any(finished.values()):
        return [_nothing_yet(results)]
    each = [_about(teacher, student, group) for student, group in finished.items()]
    return each if len(each) == 1 else [_sum(finished), *each]


def _nothing_yet(results: Sequence[ArmResult]) -> Markdown:
    done = sum(result.states.get("finished", 0) for result in results)
    trials = "1 trial has finished" if done == 1 else f"{done} trials have finished"
    return Markdown(f"No final has finished yet, so nothing can be said about test accuracy; {trials}.")


def _sum(groups: dict[str, list[_Result]]) -> Markdown:
    compared = [group for group in groups.values() if any(one.delta.n > 1 for one in group)]
    if not compared:
        return Markdown("No method can be compared with plain back-prop over two or more seeds yet.")
    wins: dict[str, int] = {}
    for one in (one for group in compared for one in group if one.delta.n > 1):
        wins[one.arm.method] = wins.get(one.arm.method, 0) + (one.delta.low > 0)
    students = f"{len(compared)} student{'s' * (len(compared) > 1)}"
    if not any(wins.values()):
        return Markdown(f"**No method is better than plain back-prop beyond noise** on any of {students}.")
    ranked = sorted(wins.items(), key=lambda item: -item[1])
    better = words.listing([f"{code(method)} on {won}" for method, won in ranked if won])
    rest = words.listing([str(code(method)) for method, won in ranked if not won])
    none = f"; {rest} on none" if rest else ""
    return Markdown(f"Over {students}, **better than plain back-prop beyond noise**: {better}{none}.")


def _about(teacher: TeacherFacts, student: str, group: Sequence[_Result]) -> Markdown:
    if not group:
        return Markdown(f"On {code(student)}, no final has finished yet.")
    ranked = sorted(group, key=lambda one: -one.accuracy.mean)
    best, others = ranked[0], ranked[1:]
    on, name, n = f"On {code(student)},", code(best.arm.method), words.seeds(best.accuracy.n)
    reached = f"{words.accuracy(best.accuracy)} %"
    rivals = [one for one in others if one.arm.method != BASELINE]
    lead = _lead(best, rivals)
    if not any(one.arm.method == BASELINE for one in group):
        first = (
            f"{on} {name} has the highest test accuracy, {reached} ({n}); no `{BASELINE}` to compare it with."
        )
    elif not others:
        first = f"{on} only plain back-prop (`{BASELINE}`) has finished: {reached} test accuracy ({n})."
    elif best.arm.method == BASELINE:
        first = f"{on} **no method beats plain back-prop**: {reached} test accuracy ({n})."
    else:
        first = _over_baseline(on, name, f"{reached} test accuracy", best, lead)
    second = ""
    if lead is not None:
        verdict = "beyond noise" if lead.low > 0 else "within noise"
        second = f"Its lead over {code(rivals[0].arm.method)}, {words.difference(lead)}, is {verdict}."
    sentences = (first, second, _others(best, others), _size(teacher, best))
    return join(Markdown(sentence) for sentence in sentences if sentence)


def _over_baseline(on: str, name: str, reached: str, best: _Result, lead: Interval | None) -> str:
    gain = f"{words.difference(best.delta)} points"
    paired = f"(95 % interval, paired over {words.seeds(best.delta.n)})"
    if best.delta.n == 0:
        return f"{on} {name} has {reached}, but shares no seed with `{BASELINE}`."
    if best.delta.n == 1:
        return (
            f"{on} {name} has {reached}, {gain} over plain back-prop; "
            "with one seed there is no interval, so this ranks nothing."
        )
    if best.delta.low > 0:
        verb = "is best" if lead is None or lead.low > 0 else "leads"
        return f"{on} **{name} {verb}**: {reached}, **{gain} over plain back-prop** {paired}."
    return (
        f"{on} {name} has the highest mean, {reached}, but its **{gain}** over plain back-prop {paired} "
        "are **within noise**."
    )


def _lead(best: _Result, rivals: Sequence[_Result]) -> Interval | None:
    """The best one's lead over the next other than back-prop; None where there is none or no interval."""
    if best.arm.method == BASELINE or not rivals:
        return None
    lead = best.of.difference(rivals[0].of)
    return lead if lead.n > 1 else None


def _others(best: _Result, others: Sequence[_Result]) -> str:
    """What is known of the other methods against back-prop."""
    judged = [one for one in others if one.delta.n > 1]
    groups = {
        "Also better than back-prop" if best.delta.low > 0 else "Better than back-prop beyond noise": [
            one for one in judged if one.delta.low > 0
        ],
        "Within noise of it" if best.arm.method == BASELINE else "Within noise of back-prop": [
            one for one in judged if not one.delta.excludes_zero
        ],
        "Worse": [one for one in judged if one.delta.high < 0],
    }
    sentences = []
    for title, found in groups.items():
        named = [f"{code(one.arm.method)} ({words.difference(one.delta)})" for one in found]
        if named:
            sentences.append(f"{title}: {words.listing(named)}.")
    return " ".join(sentences)


def _size(teacher: TeacherFacts, best: _Result) -> str:
    run = best.of.winner
    if run is None or pd.isna(run["parameters"]) or pd.isna(run["macs"]):
        return ""
    smaller = words.ratio(teacher.parameters / int(run["parameters"]))
    cheaper = words.ratio(teacher.macs / int(run["macs"]))
    of_teacher = teacher.test_accuracy
    reached = "" if of_teacher is None else f" ({of_teacher:.2f} %)"
    return f"The teacher{reached} has {smaller} its parameters and {cheaper} its MACs."
