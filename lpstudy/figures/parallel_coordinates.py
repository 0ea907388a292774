"""The figure of parallel coordinates: every trial as a line across the hyperparameters of its method."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lpstudy.figures.hover import add_words, trial_words
from lpstudy.figures.hyperparameter_axis import FEWEST_POINTS, Group, groups_of
from lpstudy.figures.search_figures import axis_range
from lpstudy.figures.style import GRID, INK, QUIET, SMALL, look, new_panels, plain, signed, title_panel
from lpstudy.tables.study_results import StudyResults

_MAX_COLUMNS = 2
_BEST_SHARE = 0.25
"""The share of the trials whose lines have the method's colour."""
_FAINT = "#b6bdc6"


def parallel_coordinates(results: StudyResults) -> Figure | None:
    """Each trial of all epochs as a line over its method's hyperparameters, to its accuracy at the right.

    One panel for each method, its students together; methods with one hyperparameter, or with fewer than
    FEWEST_POINTS such trials, have none.
    """
    groups = [
        one for one in groups_of(results.searches) if len(one.axes) > 1 and len(one.trials) >= FEWEST_POINTS
    ]
    if not groups:
        return None
    figure, panels = new_panels(
        len(groups),
        "All hyperparameters at once",
        "Each line is a trial of all epochs, from its hyperparameters to its accuracy less the arm's best;\n"
        "the best quarter of a method's trials has its colour.",
        columns=_MAX_COLUMNS,
        row_height=2.1,
    )
    for axes, group in zip(panels, groups, strict=True):
        _draw(axes, group)
    return figure


def _draw(axes: Axes, group: Group) -> None:
    below = group.trials["below"].to_numpy("float64")
    low = min(axis_range(below)[0], -0.1)
    places = [*(group.places(axis) for axis in group.axes), np.clip(1 - below / low, 0, 1)]
    lines = np.column_stack(places)
    known = np.flatnonzero(np.isfinite(lines).all(axis=1))
    lines, below, rows = lines[known], below[known], group.trials.iloc[known]
    last = lines.shape[1] - 1
    order = np.argsort(-below, kind="stable")
    best = np.zeros(len(lines), dtype=bool)
    best[order[: max(1, round(_BEST_SHARE * len(lines)))]] = True
    colour = look(group.method).colour
    for chosen, shade, width, layer in ((~best, _FAINT, 0.7, 2), (best, colour, 1.1, 3)):
        axes.add_collection(
            LineCollection(_segments(lines[chosen]), colors=shade, linewidths=width, alpha=0.7, zorder=layer)
        )
        symbols = axes.scatter(
            np.full(chosen.sum(), last), lines[chosen, last], s=12, color=shade, linewidths=0, zorder=layer,
            clip_on=False,
        )  # fmt: skip
        add_words(symbols, trial_words(rows.iloc[np.flatnonzero(chosen)]))
    axes.set_xlim(-0.35, last + 0.35)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(left=False, labelleft=False, bottom=False)
    ends = [(axis.ticks()[0][1], axis.ticks()[-1][1]) for axis in group.axes] + [(signed(low, 1), "0")]
    for place, (start, end) in enumerate(ends):
        axes.axvline(place, color=GRID if place < last else QUIET, linewidth=1, zorder=1)
        for height, text, side in ((0, start, "top"), (1, end, "bottom")):
            axes.annotate(
                text, (place, height), xytext=(0, 2 if side == "bottom" else -2), textcoords="offset points",
                fontsize=SMALL - 1.5, color=QUIET, ha="center", va=side, annotation_clip=False,
            )  # fmt: skip
    names = [plain(axis.name, max_length=14) for axis in group.axes] + ["points to best"]
    axes.set_xticks(range(last + 1), names, fontsize=SMALL - 1.5, color=INK, rotation=18, ha="right")
    axes.tick_params(axis="x", pad=9)
    students = group.students[0] if len(group.students) == 1 else f"{len(group.students)} students"
    title_panel(axes, group.method, students, lift=11)


def _segments(lines: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    across = np.arange(lines.shape[1])
    return [np.column_stack([across, line]) for line in lines]
