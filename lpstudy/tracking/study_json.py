"""`study.json`, the artifact that says what a study is: read as JSON of known keys, whoever wrote it."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from lpstudy.damage import LARGEST_FIGURE, problem_of

LARGEST = 1 << 22
"""Bytes that are read; a study file has at most 2^20 of them."""


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class DataJson(_Told):
    """The data set; train, validation and test are numbers of samples."""

    name: str
    classes: NonNegativeInt
    train: NonNegativeInt
    validation: NonNegativeInt
    test: NonNegativeInt
    chance: float | None = None
    """Accuracy of always naming the validation part's largest class, in percent."""


class TeacherJson(_Told):
    """What a report says of the teacher; see `lpstudy.teacher.TrainedTeacher`."""

    label: str
    sha256: str
    test_accuracy: Annotated[float, Field(ge=0, le=100)]
    parameters: PositiveInt
    macs: PositiveInt
    training_macs: Annotated[float, Field(ge=0, le=LARGEST_FIGURE)]
    seed: NonNegativeInt
    validation_accuracy: float | None = None
    file_classes: NonNegativeInt | None = None


class StudyJson(_Told):
    """The whole file; the spec is validated as a study file is."""

    spec: dict[str, Any]
    data: DataJson
    teacher: TeacherJson
    provenance: dict[str, str]


def read_study_json(path: Path) -> StudyJson:
    """The file's content.

    Raises:
        ValueError: In one line: it is too large, no JSON, or says other things than lpstudy writes.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"has more than {LARGEST} bytes")
    try:
        return StudyJson.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(problem_of(error)) from None
