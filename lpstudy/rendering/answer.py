"""The answer of a study: the best method, its lead, the certainty of that lead, and what is still open."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, join
from lpstudy.rendering.open_questions import open_questions
from lpstudy.rendering.sentences import (
    compared_with_teacher,
    failures,
    lead_over_rivals,
    methods_with_added_parts,
    other_methods,
    outperforming_words,
    selected_mean,
    two_seeds,
    winners_of_several_sizes,
)
from lpstudy.tables.arms import BASELINE, ArmResult
from lpstudy.tables.facts import TeacherFacts
from lpstudy.tables.open_comparisons import unclear_rivals
from lpstudy.tables.verdicts import Verdict, is_best, verdicts


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer in the parts in which a report shows it."""

    first: tuple[Markdown, ...]
    """At most three sentences; for several students a summary and a paragraph for each."""
    further: tuple[Markdown, ...] = ()
    """What is below the table: the other methods, failures, the limits of few seeds; one for each student."""
    open_questions: Markdown | None = None
    """What would decide more, in one line; None where nothing is compared."""


@dataclass(frozen=True, slots=True)
class _About:
    """The sentences on one student."""

    student: str
    first: tuple[str, ...] = ()
    teacher: str = ""
    further: tuple[str, ...] = ()
    undecided: tuple[Verdict, ...] = ()
    """Comparisons that found no difference, the leads of the highest mean first."""


def answer(teacher: TeacherFacts, results: list[ArmResult]) -> Answer:
    """The study's answer.

    A difference is claimed only if its test over paired seeds is significant after Holm's correction.
    """
    groups: dict[str, list[Verdict]] = {result.arm.student: [] for result in results}
    every = verdicts(results)
    for verdict in every:
        groups[verdict.result.arm.student].append(verdict)
    if not any(result.accuracy.n for result in results):
        return Answer((_no_finals(results),))
    abouts = [_about(teacher, student, group) for student, group in groups.items()]
    in_turn = zip_longest(*(about.undecided for about in abouts))  # each student's most important one first
    open_line = open_questions([one for turn in in_turn for one in turn if one is not None], every)
    if len(abouts) == 1:
        (about,) = abouts
        further = _paragraph(*about.further)
        return Answer((_paragraph(*about.first, about.teacher),), (further,) if further else (), open_line)
    return Answer(
        (_summary(groups), *(_paragraph(*about.first) for about in abouts)),
        tuple(
            _paragraph(f"{code(about.student)}:", *about.further, about.teacher)
            for about in abouts
            if about.teacher or any(about.further)
        ),
        open_line,
    )


def _no_finals(results: Sequence[ArmResult]) -> Markdown:
    finished = sum(result.states.get("finished", 0) for result in results)
    trials = "1 trial has finished" if finished == 1 else f"{finished} trials have finished"
    failed = sum(result.failed_finals for result in results)
    failed_finals = f", {failed} final{'s' * (failed != 1)} failed" if failed else ""
    return Markdown(
        f"No final has finished yet, so nothing can be said about test accuracy; {trials}{failed_finals}."
    )


def _summary(groups: dict[str, list[Verdict]]) -> Markdown:
    compared = [group for group in groups.values() if any(one.tests for one in group)]
    if not compared:
        if any(one.differs_in_size for group in groups.values() for one in group):
            return Markdown("No method is compared with plain back-prop: the winners are of different sizes.")
        return Markdown("No method can be compared with plain back-prop over two or more seeds yet.")
    wins: dict[str, int] = {}
    for one in (one for group in compared for one in group if one.delta.n > 1):
        wins[one.result.arm.method] = wins.get(one.result.arm.method, 0) + one.is_better
    students = f"{len(compared)} student{'s' * (len(compared) > 1)}"
    if not any(wins.values()):
        return Markdown(f"**No method is better than plain back-prop beyond noise** on any of {students}.")
    ranked = sorted(wins.items(), key=lambda item: -item[1])
    better = cell_text.listing([f"{code(method)} on {count}" for method, count in ranked if count])
    others = cell_text.listing([str(code(method)) for method, count in ranked if not count])
    none = f"; {others} on none" if others else ""
    return Markdown(f"Over {students}, **better than plain back-prop beyond noise**: {better}{none}.")


def _about(teacher: TeacherFacts, student: str, group: Sequence[Verdict]) -> _About:
    start = f"On {code(student)},"
    ranked = sorted(
        (one for one in group if one.result.accuracy.n), key=lambda one: -one.result.accuracy.mean
    )
    if not ranked:
        return _About(student, (f"{start} no final has finished yet.",), further=(failures(group),))
    enlarged = [one for one in ranked if one.result.has_added_parts]
    ranked = [one for one in ranked if one not in enlarged] or enlarged
    undecided = tuple(one for one in ranked if one.is_within_noise or one.delta.n == 1)
    limits = (two_seeds(ranked), failures(group))
    if len({one.result.design for one in ranked}) > 1:
        sizes = winners_of_several_sizes(start, ranked)
        return _About(student, (sizes,), "", (other_methods(ranked), *limits), undecided)
    best, results = ranked[0], [one.result for one in group if one not in enlarged or one in ranked]
    is_best_of_all = is_best(best.result, results)
    is_baseline = best.result.arm.method == BASELINE
    return _About(
        student,
        (
            _first(start, best, ranked, is_best_of_all),
            "" if is_baseline else lead_over_rivals(best.result, results, is_best_of_all),
        ),
        compared_with_teacher(teacher, best.result),
        (
            other_methods(ranked[1:], best=best),
            selected_mean(ranked),
            methods_with_added_parts([one for one in enlarged if one not in ranked]),
            *limits,
        ),
        (*(() if is_baseline or is_best_of_all else unclear_rivals(best.result, results)), *undecided),
    )


def _first(start: str, best: Verdict, ranked: Sequence[Verdict], is_best_of_all: bool) -> str:
    """The sentence on the method of the highest mean and its significance."""
    accuracy = f"{cell_text.accuracy(best.result.accuracy)} %"
    name, n = code(best.result.arm.method), cell_text.seeds(best.result.accuracy.n)
    if not any(one.result.arm.method == BASELINE for one in ranked):
        verb = f"**{name} is best**:" if is_best_of_all else f"{name} has the highest test accuracy,"
        return f"{start} {verb} {accuracy} ({n}); there is no `{BASELINE}` to compare it with."
    if len(ranked) == 1:
        return f"{start} only plain back-prop (`{BASELINE}`) has finished: {accuracy} test accuracy ({n})."
    if best.result.arm.method == BASELINE:
        return f"{start} **no method beats plain back-prop**: {accuracy} test accuracy ({n})."
    return _over_baseline(f"{start} {name}", f"{accuracy} test accuracy", best, is_best_of_all)


def _over_baseline(subject: str, accuracy: str, best: Verdict, is_best_of_all: bool) -> str:
    delta, over = best.delta, "over plain back-prop"
    gain = f"{cell_text.difference(delta)} points"
    paired = f"(95 % interval, paired over {cell_text.seeds(delta.n)})"
    ahead = outperforming_words(best)
    if delta.n == 0:
        return f"{subject} has {accuracy}, but shares no seed with `{BASELINE}`."
    if delta.n == 1:
        no_rank = "with one seed there is no interval, so this ranks nothing"
        return f"{subject} has {accuracy}, {gain} {over}; {no_rank}."
    if best.is_better:
        before, name = subject.rsplit(" ", 1)
        verb = "is best" if is_best_of_all else "leads"
        return f"{before} **{name} {verb}**: {accuracy}, **{gain} {over}** {paired}; {ahead}."
    highest = f"{subject} has the highest mean, {accuracy}, but its **{gain}** {over} {paired}"
    return f"{highest} are **within noise** ({cell_text.doubt(best)})."


def _paragraph(*sentences: str) -> Markdown:
    return join(Markdown(sentence) for sentence in sentences if sentence)
