"""The figure of slices: each searched hyperparameter's values against accuracy."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from lpstudy.figures.hover import add_words, value_text
from lpstudy.figures.hyperparameter_axis import FEWEST_POINTS, Group, HyperparameterAxis, groups_of
from lpstudy.figures.search_figures import axis_range
from lpstudy.figures.style import INK, NORMAL, SMALL, look, new_panels, title_panel
from lpstudy.tables.study_results import StudyResults

_MAX_COLUMNS = 5


def slices(results: StudyResults) -> Figure | None:
    """Validation accuracy less the arm's best over the values of each hyperparameter, one panel each.

    A method's students share its panels. Only trials of all epochs are shown; none where a method has fewer
    than FEWEST_POINTS of them. Values far below the others are drawn at the lower edge.
    """
    groups = [one for one in groups_of(results.searches) if len(one.trials) >= FEWEST_POINTS]
    pairs = [(group, axis) for group in groups for axis in group.axes]
    if not pairs:
        return None
    figure, panels = new_panels(
        len(pairs),
        "Each hyperparameter against accuracy",
        "Each point is a trial of all epochs: validation accuracy less the best of its arm, "
        "students of a method together.\nThe tick at the left and at the right is the end of the range. "
        "▼ at the lower edge: below the range shown.",
        columns=_MAX_COLUMNS,
        row_height=1.5,
    )
    low, high = axis_range(np.concatenate([group.trials["below"].to_numpy("float64") for group in groups]))
    for index, (axes, (group, axis)) in enumerate(zip(panels, pairs, strict=True)):
        axes.set_ylim(low, high)
        _draw(axes, group, axis, low)
        axes.tick_params(labelleft=index % _MAX_COLUMNS == 0)
    figure.supylabel("points to the arm's best", fontsize=NORMAL, color=INK)
    return figure


def set_ticks(axes: Axes, axis: HyperparameterAxis) -> None:
    """The ticks of a hyperparameter on the x axis; texts at the ends stay within the panel."""
    ticks = axis.ticks()
    axes.set_xlim(-0.04, 1.04)
    axes.xaxis.set_major_locator(FixedLocator([place for place, _ in ticks]))
    axes.xaxis.set_major_formatter(FixedFormatter([text for _, text in ticks]))
    axes.tick_params(axis="x", labelsize=SMALL - 1)
    if axis.space is not None:
        low, high = axes.get_xticklabels()
        low.set_horizontalalignment("left")
        high.set_horizontalalignment("right")


def value_words(group: Group, axis: HyperparameterAxis) -> list[str]:
    """Each trial's student, number, accuracy and value of one hyperparameter."""
    rows = group.trials[["student", "trial", "validation_accuracy"]].itertuples(index=False)
    return [
        f"{student}, trial {trial}: {accuracy:.2f} %, {axis.name} {value_text(values.get(axis.name))}"
        for (student, trial, accuracy), values in zip(rows, group.values, strict=True)
    ]


def _draw(axes: Axes, group: Group, axis: HyperparameterAxis, low: float) -> None:
    colour = look(group.method).colour
    x, y = group.places(axis), group.trials["below"].to_numpy("float64")
    words = value_words(group, axis)
    for chosen, marker, size in ((y >= low, "o", 16), (y < low, "v", 26)):
        if chosen.any():
            symbols = axes.scatter(
                x[chosen], np.maximum(y[chosen], low), s=size, marker=marker, color=colour, alpha=0.6,
                linewidths=0, clip_on=False, zorder=3,
            )  # fmt: skip
            add_words(symbols, [text for text, is_in in zip(words, chosen, strict=True) if is_in])
    set_ticks(axes, axis)
    title_panel(axes, group.method, axis.name)
