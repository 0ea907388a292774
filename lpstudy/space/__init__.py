"""Study files: TOML into strict models."""

from lpstudy.space.arm import Arm, RunSpec
from lpstudy.space.budget import Budget, Search
from lpstudy.space.changes import Definition, arm_definitions, changed_arms, changed_settings
from lpstudy.space.cost_settings import CostSettings, LatencyTarget
from lpstudy.space.finals_settings import DEFAULT_CANDIDATES, DEFAULT_FRONT, FinalsSettings
from lpstudy.space.imported_code import ImportedCode, ImportedFile, LoadedCode, import_files, load_all
from lpstudy.space.next_range import next_range, section_of, sharing, toml_words
from lpstudy.space.published import PublishedResult
from lpstudy.space.ranges import Choices, Fixed, Names, Range, Scalar, Searchable, value_text
from lpstudy.space.shift_settings import ShiftData, ShiftSettings
from lpstudy.space.start import check_start
from lpstudy.space.student_space import StudentSpace
from lpstudy.space.study_spec import Constraints, StudySpec
from lpstudy.space.study_toml import (
    find_study_file,
    known_studies,
    parse,
    parse_stored,
    read_study,
    read_study_file,
)
from lpstudy.space.teacher_spec import BANK_KEYS, INPUT_KEYS, TeacherSpec
from lpstudy.space.training import Precision, Training
from lpstudy.space.warm_start import WarmStart
from lpstudy.students import StudentSpec

__all__ = [
    "BANK_KEYS",
    "DEFAULT_CANDIDATES",
    "DEFAULT_FRONT",
    "INPUT_KEYS",
    "Arm",
    "Budget",
    "Choices",
    "Constraints",
    "CostSettings",
    "Definition",
    "FinalsSettings",
    "Fixed",
    "ImportedCode",
    "ImportedFile",
    "LatencyTarget",
    "LoadedCode",
    "Names",
    "Precision",
    "PublishedResult",
    "Range",
    "RunSpec",
    "Scalar",
    "Search",
    "Searchable",
    "ShiftData",
    "ShiftSettings",
    "StudentSpace",
    "StudentSpec",
    "StudySpec",
    "TeacherSpec",
    "Training",
    "WarmStart",
    "arm_definitions",
    "changed_arms",
    "changed_settings",
    "check_start",
    "find_study_file",
    "import_files",
    "known_studies",
    "load_all",
    "next_range",
    "parse",
    "parse_stored",
    "read_study",
    "read_study_file",
    "section_of",
    "sharing",
    "toml_words",
    "value_text",
]
