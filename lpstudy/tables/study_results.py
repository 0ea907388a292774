"""The results of a study that its report shows."""

from dataclasses import dataclass

import pandas as pd

from lpstudy.tables.facts import StudyFacts


@dataclass(frozen=True, slots=True)
class StudyResults:
    """A study's facts, and the frames of its runs and their epochs."""

    facts: StudyFacts
    runs: pd.DataFrame
    """One row per trial and final; columns `lpstudy.tables.RUN_COLUMNS`."""
    curves: pd.DataFrame
    """The metrics of each epoch; columns `lpstudy.tables.CURVE_COLUMNS`."""
