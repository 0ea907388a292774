"""A teacher that is trained again, as the cache was lost: the report names the one that earlier runs had."""

from typing import Any

from lpstudy.command.provenance import EARLIER_TEACHERS, earlier_teachers
from lpstudy.teacher import TrainedTeacher

FIRST, SECOND = (TrainedTeacher("", "k", digit * 64, "net", 90.0, 91.25, 1, 1, 1.0, 0) for digit in "12")


def facts(teacher: TrainedTeacher, earlier: str = "") -> dict[str, Any]:
    stored = {"sha256": teacher.sha256, "test_accuracy": teacher.test_accuracy}
    return {"teacher": stored, "provenance": {EARLIER_TEACHERS: earlier} if earlier else {}}


def test_another_teacher_is_named_and_stays_named() -> None:
    assert earlier_teachers({}, FIRST) == ""
    assert earlier_teachers(facts(FIRST), FIRST) == ""
    words = earlier_teachers(facts(FIRST), SECOND)
    assert words == f"weights {'1' * 16}, test {FIRST.test_accuracy:.2f} %"
    assert earlier_teachers(facts(SECOND, words), SECOND) == words
    assert earlier_teachers(facts(SECOND, words), FIRST).startswith(f"{words}; weights {'2' * 16}")
