"""Data frames in, matplotlib figures out; nothing here keeps state or writes a file.

Each function gives None where there is nothing to show.
"""

from lpstudy.figures.accuracy import accuracy_over_cost
from lpstudy.figures.curves import learning_curves
from lpstudy.figures.differences import difference_to_back_prop
from lpstudy.figures.search_figures import importances, pareto_fronts, search_history

__all__ = [
    "accuracy_over_cost",
    "difference_to_back_prop",
    "importances",
    "learning_curves",
    "pareto_fronts",
    "search_history",
]
