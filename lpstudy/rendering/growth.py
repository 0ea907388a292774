"""What the report says of a study that has grown, and of arms that it does not show."""

from lpstudy.rendering.markdown import Markdown, escape
from lpstudy.tables.facts import StudyFacts


def hidden_note(study: StudyFacts) -> list[Markdown]:
    """Which arms are not shown, and what that means for the others' results; empty where all are."""
    if not study.hidden:
        return []
    return [
        Markdown(
            f"Hidden: {escape(study.hidden)}. They were taken out after results were known, and no test is"
            " corrected for them: such a choice makes what remains look better than it is."
        )
    ]


def growth_section(study: StudyFacts) -> list[Markdown]:
    """One line for each change of the study after its start."""
    return [escape(words) for words in study.growth]
