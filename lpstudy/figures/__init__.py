"""Matplotlib figures from data frames, without state or files.

Each function returns None if it has no data.
"""

from lpstudy.figures.accuracy import accuracy_over_cost, accuracy_over_training
from lpstudy.figures.contours import contours
from lpstudy.figures.curves import learning_curves
from lpstudy.figures.differences import difference_to_back_prop
from lpstudy.figures.parallel_coordinates import parallel_coordinates
from lpstudy.figures.search_figures import importance_figure, pareto_fronts, search_history
from lpstudy.figures.search_progress import search_progress
from lpstudy.figures.slices import slices
from lpstudy.figures.timeline import timeline

__all__ = [
    "accuracy_over_cost",
    "accuracy_over_training",
    "contours",
    "difference_to_back_prop",
    "importance_figure",
    "learning_curves",
    "parallel_coordinates",
    "pareto_fronts",
    "search_history",
    "search_progress",
    "slices",
    "timeline",
]
