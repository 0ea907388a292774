"""The answer of a study: the best method, its lead, and the certainty of that lead."""

from collections.abc import Sequence

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, join
from lpstudy.rendering.sentences import (
    compared_with_teacher,
    failures,
    lead_over_rivals,
    methods_with_added_parts,
    other_methods,
    outperforming_words,
    two_seeds,
    winners_of_several_sizes,
)
from lpstudy.tables.arms import BASELINE, ArmResult
from lpstudy.tables.facts import TeacherFacts
from lpstudy.tables.verdicts import Verdict, is_best, verdicts


def answer_paragraphs(teacher: TeacherFacts, results: list[ArmResult]) -> list[Markdown]:
    """One paragraph; for several students a summary and a paragraph for each.

    A difference is claimed only if its test over paired seeds is significant after Holm's correction.
    """
    groups: dict[str, list[Verdict]] = {result.arm.student: [] for result in results}
    for verdict in verdicts(results):
        groups[verdict.result.arm.student].append(verdict)
    if not any(result.accuracy.n for result in results):
        return [_no_finals(results)]
    paragraphs = [_about(teacher, student, group) for student, group in groups.items()]
    return paragraphs if len(paragraphs) == 1 else [_summary(groups), *paragraphs]


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


def _about(teacher: TeacherFacts, student: str, group: Sequence[Verdict]) -> Markdown:
    start = f"On {code(student)},"
    ranked = sorted(
        (one for one in group if one.result.accuracy.n), key=lambda one: -one.result.accuracy.mean
    )
    if not ranked:
        return _paragraph(f"{start} no final has finished yet.", failures(group))
    enlarged = [one for one in ranked if one.result.has_added_parts]
    ranked = [one for one in ranked if one not in enlarged] or enlarged
    if len({one.result.design for one in ranked}) > 1:
        sizes = winners_of_several_sizes(start, ranked)
        return _paragraph(sizes, other_methods(ranked), two_seeds(ranked), failures(group))
    best, results = ranked[0], [one.result for one in group if one not in enlarged or one in ranked]
    is_best_of_all = is_best(best.result, results)
    return _paragraph(
        _first(start, best, ranked, is_best_of_all),
        "" if best.result.arm.method == BASELINE else lead_over_rivals(best.result, results, is_best_of_all),
        other_methods(ranked[1:], best=best),
        methods_with_added_parts([one for one in enlarged if one not in ranked]),
        two_seeds(ranked),
        failures(group),
        compared_with_teacher(teacher, best.result),
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
