"""Data frames in, comparison tables and intervals out; nothing here reads or writes a file."""

from lpstudy.tables.facts import CURVE_COLUMNS, RUN_COLUMNS, ArmFacts, StudyFacts, TeacherFacts

__all__ = ["CURVE_COLUMNS", "RUN_COLUMNS", "ArmFacts", "StudyFacts", "TeacherFacts"]
