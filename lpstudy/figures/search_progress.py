"""The figure of the best so far over the compute of the search."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lpstudy.figures.labels import Label, label_lines
from lpstudy.figures.style import INK, NORMAL, count_words, look, name_axes, new_panels, plain
from lpstudy.tables.search_quality import ArmSearch
from lpstudy.tables.study_results import StudyResults

_MAX_COLUMNS = 2
_MARGIN = 0.3
"""The share of the compute that the x axis has beyond the last trial, for the labels."""


def search_progress(results: StudyResults) -> Figure | None:
    """The best validation accuracy so far in percent over the training MACs of all trials, as steps.

    One panel per student. None where no trial of all epochs has training MACs.
    """
    arm_searches = [one for one in results.searches if np.isfinite(one.cost("macs")[1])]
    students = [one.result.arm.student for one in arm_searches]
    names = list(dict.fromkeys(students))
    if not arm_searches:
        return None
    figure, panels = new_panels(
        len(names),
        "Best so far over the compute of the search",
        "The highest validation accuracy of the trials that ran all epochs, over the training MACs of all\n"
        "the arm's trials, pruned ones too, without the teacher's.",
        columns=_MAX_COLUMNS,
        row_height=max(3.0, 0.2 * max(students.count(student) for student in names)),
    )
    for axes, student in zip(panels, names, strict=True):
        _draw(axes, [one for one in arm_searches if one.result.arm.student == student])
        name_axes(axes, x="training MACs")
        if len(names) > 1:
            axes.set_title(plain(student), fontsize=NORMAL, fontweight="bold", color=INK, loc="left")
    figure.supylabel("best validation accuracy (%)", fontsize=NORMAL, color=INK)
    for axes, student in zip(panels, names, strict=True):
        label_lines(axes, [_label(one) for one in arm_searches if one.result.arm.student == student])
    return figure


def _draw(axes: Axes, arm_searches: list[ArmSearch]) -> None:
    lowest = []
    for one in arm_searches:
        progress = one.progress[one.progress["best"].notna()]
        best = progress["best"].to_numpy("float64")
        lowest.append(float(np.percentile(best, 20)))
        axes.step(
            progress["macs"], best, where="post", color=look(one.result.arm.method).colour, linewidth=1.5
        )
    high = max(one.best for one in arm_searches)
    height = max(high - min(lowest), 0.5)
    axes.set_ylim(min(lowest) - 0.06 * height, high + 0.06 * height)
    axes.set_xlim(0, (1 + _MARGIN) * max(one.cost("macs")[0] for one in arm_searches))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count_words(value)))


def _label(search: ArmSearch) -> Label:
    method = search.result.arm.method
    return Label(plain(method), search.cost("macs")[0], search.best, look(method).colour)
