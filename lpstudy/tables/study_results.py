"""The results of a study that its report shows."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from lpstudy.tables.arms import ArmResult, arm_results
from lpstudy.tables.budgets import BudgetChoice, budget_choices
from lpstudy.tables.comparison import comparison_of
from lpstudy.tables.facts import StudyFacts
from lpstudy.tables.front import Front, fronts
from lpstudy.tables.search_quality import ArmSearch, searches


@dataclass(frozen=True)
class StudyResults:
    """A study's facts, and the frames of its runs and their epochs; what follows is computed once."""

    facts: StudyFacts
    runs: pd.DataFrame
    """One row per trial and final; columns `lpstudy.tables.RUN_COLUMNS`."""
    curves: pd.DataFrame
    """The metrics of each epoch; columns `lpstudy.tables.CURVE_COLUMNS`."""

    @cached_property
    def arms(self) -> list[ArmResult]:
        """The result of each method on each student: see `arm_results`."""
        return arm_results(self.facts, self.runs)

    @cached_property
    def comparison(self) -> pd.DataFrame:
        """The comparison of the arms: see `lpstudy.tables.comparison`."""
        return comparison_of(self.facts, self.arms)

    @cached_property
    def fronts(self) -> list[Front]:
        """The front of each arm whose depth or width is searched."""
        return fronts(self.facts, self.arms)

    @cached_property
    def budget_choices(self) -> list[BudgetChoice]:
        """The best student for each budget of MACs, parameters or latency."""
        return budget_choices(self.facts, self.arms)

    @cached_property
    def searches(self) -> list[ArmSearch]:
        """How far each arm's search was."""
        return searches(self.arms)
