"""What others have published for an arm of a study: the tables [[published]] of a study file."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

TEACHER = "teacher"
"""The method of a published result of the teacher."""


class PublishedResult(BaseModel):
    """A published test accuracy of an arm, which the report shows beside the study's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    method: str
    """The name of the arm's table in [methods], or `teacher`."""
    student: str
    """The student's label, or the teacher's, as `lpstudy plan` shows it."""
    value: Annotated[float, Field(ge=0, le=100)]
    """Top-1 test accuracy in percent."""
    source: Annotated[str, Field(min_length=1, max_length=200)]
    """Where it is published."""
    note: Annotated[str, Field(max_length=200)] = ""
    """What the reader must know, as "best test epoch"."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """The epochs of the published recipe, where the rest of the study's recipe is the published one: with as
    many epochs in the budget, the report shows the difference."""
