"""The figure of contours: accuracy over the two most important hyperparameters of each arm."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter
from matplotlib.tri import Triangulation, TriContourSet
from numpy.typing import NDArray

from lpstudy.figures.hover import add_words, trial_words
from lpstudy.figures.hyperparameter_axis import Group, HyperparameterAxis, groups_of
from lpstudy.figures.search_figures import axis_range
from lpstudy.figures.slices import set_ticks
from lpstudy.figures.style import INK, NORMAL, QUIET, SMALL, new_panels, plain, signed, title_panel
from lpstudy.tables.study_results import StudyResults

_MAX_COLUMNS = 3
_STEPS = 8
_COLOURS = "YlGnBu"


def contours(results: StudyResults, shares: Mapping[str, Mapping[str, float]]) -> Figure | None:
    """Validation accuracy over the two most important hyperparameters, one panel for each arm.

    The surface is linear between trials of all epochs, and nothing is drawn beyond the outermost ones.

    Args:
        results: The study's results.
        shares: For each arm's name, each hyperparameter's importance; arms with fewer than two have no panel.
    """
    arms = []
    for search in results.searches:
        ranked = _ranked(shares.get(search.result.arm.name, {}))
        groups = groups_of([search])
        if len(ranked) >= 2 and groups:
            by_name = {axis.name: axis for axis in groups[0].axes}
            pair = [by_name[name] for name in ranked[:2] if name in by_name]
            if len(pair) == 2:
                arms.append((groups[0], pair))
    if not arms:
        return None
    figure, panels = new_panels(
        len(arms),
        "The two most important hyperparameters of each arm",
        "Validation accuracy less the arm's best, in points: linear between its trials of all epochs, which "
        "are the dots;\nthe ring is the best. The more important hyperparameter lies on the x axis.",
        columns=_MAX_COLUMNS,
        row_height=2.25,
    )
    low, _ = axis_range(np.concatenate([group.trials["below"].to_numpy("float64") for group, _ in arms]))
    levels = np.linspace(min(low, -0.1), 0, _STEPS + 1)
    surfaces = [_draw(axes, group, pair, levels) for axes, (group, pair) in zip(panels, arms, strict=True)]
    surface = next((one for one in surfaces if one is not None), None)
    if surface is not None:
        bar = figure.colorbar(surface, ax=panels, location="bottom", aspect=45, pad=0.03, shrink=0.5)
        bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: signed(value, 1)))
        bar.set_label("points to the arm's best", fontsize=NORMAL, color=INK)
        bar.ax.tick_params(labelsize=SMALL - 1, colors=QUIET)
        bar.outline.set_visible(False)
    return figure


def _ranked(shares: Mapping[str, float]) -> list[str]:
    finite = {name: share for name, share in shares.items() if np.isfinite(share)}
    return sorted(finite, key=lambda name: -finite[name])


def _draw(
    axes: Axes, group: Group, pair: Sequence[HyperparameterAxis], levels: NDArray[np.float64]
) -> TriContourSet | None:
    """Draw a panel; its surface, None where the trials span none."""
    x, y = (group.places(axis) for axis in pair)
    below = group.trials["below"].to_numpy("float64")
    known = np.isfinite(x) & np.isfinite(y)
    x, y, below, rows = x[known], y[known], below[known], group.trials[known]
    surface = None
    if _spans_a_plane(x, y):
        surface = axes.tricontourf(
            Triangulation(x, y), np.maximum(below, levels[0]), levels=levels, cmap=_COLOURS, zorder=1
        )
    symbols = axes.scatter(x, y, s=9, color=INK, linewidths=0.5, edgecolors="white", zorder=3, clip_on=False)
    add_words(symbols, trial_words(rows))
    best = below == 0
    axes.scatter(
        x[best], y[best], s=60, facecolors="none", edgecolors=INK, linewidths=1.3, zorder=4, clip_on=False
    )
    axes.grid(visible=False)
    set_ticks(axes, pair[0])
    ticks = pair[1].ticks()
    axes.set_ylim(-0.04, 1.04)
    axes.yaxis.set_major_locator(FixedLocator([place for place, _ in ticks]))
    axes.yaxis.set_major_formatter(FixedFormatter([text for _, text in ticks]))
    axes.tick_params(axis="y", labelsize=SMALL - 1)
    axes.set_xlabel(plain(pair[0].name, max_length=22), fontsize=SMALL, color=INK, labelpad=1)
    axes.set_ylabel(plain(pair[1].name, max_length=20), fontsize=SMALL, color=INK, labelpad=1)
    title_panel(axes, group.method, group.students[0])
    return surface


def _spans_a_plane(x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
    """Whether the points have three that lie on no line: only then there are triangles between them."""
    points = np.unique(np.column_stack([x, y]), axis=0)
    return len(points) >= 3 and np.linalg.matrix_rank(points - points[0], tol=1e-6) == 2
