"""The study's answer in plain words: which method is best, by how much, and how sure that is."""

from collections.abc import Sequence

from lpstudy.rendering import formatting
from lpstudy.rendering.markdown import Markdown, code, join
from lpstudy.rendering.sentences import (
    compared_with_teacher,
    failures,
    lead_over_rivals,
    other_methods,
    two_seeds,
    winners_of_several_sizes,
)
from lpstudy.tables.arms import BASELINE, ArmResult
from lpstudy.tables.facts import TeacherFacts
from lpstudy.tables.verdicts import Verdict, is_best, verdicts


def answer(teacher: TeacherFacts, results: list[ArmResult]) -> list[Markdown]:
    """One paragraph, and where a study has several students a further one for each, the first being the sum.

    A difference is claimed only where its test over paired seeds finds it after Holm's correction.
    """
    groups: dict[str, list[Verdict]] = {result.arm.student: [] for result in results}
    for verdict in verdicts(results):
        groups[verdict.of.arm.student].append(verdict)
    if not any(result.accuracy.n for result in results):
        return [_nothing_yet(results)]
    each = [_about(teacher, student, group) for student, group in groups.items()]
    return each if len(each) == 1 else [_sum(groups), *each]


def _nothing_yet(results: Sequence[ArmResult]) -> Markdown:
    done = sum(result.states.get("finished", 0) for result in results)
    trials = "1 trial has finished" if done == 1 else f"{done} trials have finished"
    lost = sum(result.lost for result in results)
    failed = f", {lost} final{'s' * (lost != 1)} failed" if lost else ""
    return Markdown(
        f"No final has finished yet, so nothing can be said about test accuracy; {trials}{failed}."
    )


def _sum(groups: dict[str, list[Verdict]]) -> Markdown:
    compared = [group for group in groups.values() if any(one.tests for one in group)]
    if not compared:
        if any(one.other_size for group in groups.values() for one in group):
            return Markdown("No method is compared with plain back-prop: the winners are of different sizes.")
        return Markdown("No method can be compared with plain back-prop over two or more seeds yet.")
    wins: dict[str, int] = {}
    for one in (one for group in compared for one in group if one.delta.n > 1):
        wins[one.of.arm.method] = wins.get(one.of.arm.method, 0) + one.better
    students = f"{len(compared)} student{'s' * (len(compared) > 1)}"
    if not any(wins.values()):
        return Markdown(f"**No method is better than plain back-prop beyond noise** on any of {students}.")
    ranked = sorted(wins.items(), key=lambda item: -item[1])
    better = formatting.listing([f"{code(method)} on {won}" for method, won in ranked if won])
    rest = formatting.listing([str(code(method)) for method, won in ranked if not won])
    none = f"; {rest} on none" if rest else ""
    return Markdown(f"Over {students}, **better than plain back-prop beyond noise**: {better}{none}.")


def _about(teacher: TeacherFacts, student: str, group: Sequence[Verdict]) -> Markdown:
    on = f"On {code(student)},"
    reached = sorted((one for one in group if one.of.accuracy.n), key=lambda one: -one.of.accuracy.mean)
    if not reached:
        return _joined(f"{on} no final has finished yet.", failures(group))
    if len({one.of.design for one in reached}) > 1:
        sizes = winners_of_several_sizes(on, reached)
        return _joined(sizes, other_methods(reached), two_seeds(reached), failures(group))
    best, results = reached[0], [one.of for one in group]
    of_all = is_best(best.of, results)
    return _joined(
        _first(on, best, reached, of_all),
        "" if best.of.arm.method == BASELINE else lead_over_rivals(best.of, results, of_all),
        other_methods(reached[1:], best=best),
        two_seeds(reached),
        failures(group),
        compared_with_teacher(teacher, best.of),
    )


def _first(on: str, best: Verdict, reached: Sequence[Verdict], of_all: bool) -> str:
    """What the method of the highest mean reaches, and what that is worth."""
    accuracy = f"{formatting.accuracy(best.of.accuracy)} %"
    name, n = code(best.of.arm.method), formatting.seeds(best.of.accuracy.n)
    if not any(one.of.arm.method == BASELINE for one in reached):
        verb = f"**{name} is best**:" if of_all else f"{name} has the highest test accuracy,"
        return f"{on} {verb} {accuracy} ({n}); there is no `{BASELINE}` to compare it with."
    if len(reached) == 1:
        return f"{on} only plain back-prop (`{BASELINE}`) has finished: {accuracy} test accuracy ({n})."
    if best.of.arm.method == BASELINE:
        return f"{on} **no method beats plain back-prop**: {accuracy} test accuracy ({n})."
    return _over_baseline(f"{on} {name}", f"{accuracy} test accuracy", best, of_all)


def _over_baseline(who: str, reached: str, best: Verdict, of_all: bool) -> str:
    delta, over = best.delta, "over plain back-prop"
    gain = f"{formatting.difference(delta)} points"
    paired = f"(95 % interval, paired over {formatting.seeds(delta.n)})"
    if delta.n == 0:
        return f"{who} has {reached}, but shares no seed with `{BASELINE}`."
    if delta.n == 1:
        return (
            f"{who} has {reached}, {gain} {over}; with one seed there is no interval, so this ranks nothing."
        )
    if best.better:
        before, name = who.rsplit(" ", 1)
        verb = "is best" if of_all else "leads"
        return f"{before} **{name} {verb}**: {reached}, **{gain} {over}** {paired}."
    highest = f"{who} has the highest mean, {reached}, but its **{gain}** {over} {paired}"
    return f"{highest} are **within noise** ({formatting.doubt(best)})."


def _joined(*sentences: str) -> Markdown:
    return join(Markdown(sentence) for sentence in sentences if sentence)
