"""Matplotlib figures from data frames, without state or files.

Each function returns None if it has no data.
"""

from lpstudy.figures.accuracy import accuracy_over_cost
from lpstudy.figures.curves import learning_curves
from lpstudy.figures.differences import difference_to_back_prop
from lpstudy.figures.search_figures import importance_figure, pareto_fronts, search_history

__all__ = [
    "accuracy_over_cost",
    "difference_to_back_prop",
    "importance_figure",
    "learning_curves",
    "pareto_fronts",
    "search_history",
]
