"""Data frames in, comparison tables and intervals out; nothing here reads or writes a file."""

from lpstudy.tables.comparison import COMPARISON_COLUMNS, comparison
from lpstudy.tables.facts import COST_COLUMNS, CURVE_COLUMNS, RUN_COLUMNS, ArmFacts, StudyFacts, TeacherFacts
from lpstudy.tables.intervals import Interval, interval, pareto_front
from lpstudy.tables.shift_columns import shift_columns
from lpstudy.tables.study_results import StudyResults
from lpstudy.tables.text import spreadsheet_cell, spreadsheet_safe
from lpstudy.tables.trials import trials_table

__all__ = [
    "COMPARISON_COLUMNS",
    "COST_COLUMNS",
    "CURVE_COLUMNS",
    "RUN_COLUMNS",
    "ArmFacts",
    "Interval",
    "StudyFacts",
    "StudyResults",
    "TeacherFacts",
    "comparison",
    "interval",
    "pareto_front",
    "shift_columns",
    "spreadsheet_cell",
    "spreadsheet_safe",
    "trials_table",
]
