"""A report's answer as one text for each student."""

from lpstudy.rendering.answer import answer
from lpstudy.tables.arms import ArmResult
from lpstudy.tables.facts import TeacherFacts


def answer_paragraphs(teacher: TeacherFacts, results: list[ArmResult]) -> list[str]:
    """The summary, where there is one, and all sentences on each student that are not about what is open."""
    parts = answer(teacher, results)
    first, further = list(parts.first), list(parts.further)
    if len(first) == 1:
        return [" ".join([*first, *further])]
    summary, *each = first
    students = [text.split(",")[0].removeprefix("On ") for text in each]
    added = [next((text for text in further if text.startswith(f"{name}:")), "") for name in students]
    return [summary, *(f"{text} {more}".strip() for text, more in zip(each, added, strict=True))]
