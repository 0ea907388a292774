"""The report's notes on arms that spend another method's compute on longer training."""

from collections.abc import Iterator, Sequence

from lpstudy.rendering import cell_text
from lpstudy.rendering.markdown import Markdown, code, escape
from lpstudy.tables.arms import ArmResult
from lpstudy.tables.facts import EPOCHS, StudyFacts


def equal_compute_notes(study: StudyFacts, results: Sequence[ArmResult]) -> list[Markdown]:
    """What each such arm is, and how the method whose compute it spends compares with it; a note for each."""
    by_arm = {(result.arm.method, result.arm.student): result for result in results}
    notes = []
    for result in results:
        arm = result.arm
        other = by_arm.get((arm.compute_of, arm.student))
        if arm.epochs is None or other is None:
            continue
        base = arm.fixed.get("method", arm.method)
        share = other.teacher_share
        part = f" ({100 * share:.0f} %)" if share >= 0 else ""
        words = (
            f"{code(arm.method)} is {code(base)} for {arm.epochs} instead of {study.budget.get(EPOCHS, '?')}"
            f" epochs on {code(arm.student)}: the training MACs of {code(arm.compute_of)}, with its share of"
            f" the teacher's outputs{part} but without the teacher's own training."
        )
        notes.append(Markdown(" ".join([words, *_comparison(result, other)])))
    return notes


def _comparison(long: ArmResult, other: ArmResult) -> Iterator[str]:
    """How the other method compares with longer training; nothing before both have results of one size."""
    delta = other.difference(long)
    if delta.n < 2:
        return
    if delta.low > 0:
        verdict = "the teacher is worth more than longer training"
    elif delta.high < 0:
        verdict = "longer training is worth more than the teacher"
    else:
        verdict = "these seeds do not tell them apart"
    yield (
        f"At this equal compute {code(other.arm.method)} is {escape(cell_text.difference(delta))} points from"
        f" it: {verdict} (this one difference alone; pairs.csv has it corrected)."
    )
