"""Figures of the search: its history, its Pareto fronts, and hyperparameter importances."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lpstudy.figures.hover import add_words, trial_words
from lpstudy.figures.labels import Label, label_lines
from lpstudy.figures.style import (
    GRID,
    INK,
    NORMAL,
    QUIET,
    SMALL,
    log_counts,
    look,
    name_axes,
    new_figure,
    plain,
    title_panel,
)
from lpstudy.tables.facts import ArmFacts, StudyFacts
from lpstudy.tables.intervals import pareto_front
from lpstudy.tables.study_results import StudyResults

_MAX_COLUMNS = 5
_ACCURACY = "validation_accuracy"


def search_history(results: StudyResults) -> Figure | None:
    """Validation accuracy in percent over trials, one panel per arm, with the best so far as a line.

    Columns are methods, rows are students; more than five methods wrap. Values far below the others are drawn
    at the lower edge. None if no trial has a value.
    """
    study, runs = results.facts, results.runs
    trials = runs[runs["kind"].eq("trial") & runs[_ACCURACY].notna() & runs["trial"].notna()]
    arms = [arm for arm in study.arms if trials["arm"].eq(arm.name).any()]
    if not arms:
        return None
    methods = list(dict.fromkeys(arm.method for arm in arms))
    columns = min(_MAX_COLUMNS, len(methods))
    rows = -(-len(arms) // columns)
    figure, grid = new_figure(
        1.2 + 1.75 * rows,
        "Search history",
        "Each point is a trial; the line is the best finished one so far. "
        "Hollow: pruned. ▼ at the lower edge: below the range shown.",
        heights=[1.0] * rows,
        columns=columns,
    )
    panel_axes = [axes for row in grid for axes in row]
    low, high = axis_range(trials[_ACCURACY].to_numpy(dtype=np.float64))
    for axes in panel_axes:
        axes.set_ylim(low, high)
    last = int(trials["trial"].max())
    panel_axes[0].set_xlim(-0.04 * (last + 1) - 0.4, last + 0.4 + 0.04 * (last + 1))
    panel_axes[0].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    for axes in panel_axes[len(arms) :]:
        axes.set_visible(False)
    for index, (axes, arm) in enumerate(zip(panel_axes, arms, strict=False)):
        _draw_history(axes, arm, trials[trials["arm"].eq(arm.name)], low)
        title_panel(axes, arm.method, arm.student)
        is_lowest = index + columns >= len(arms)
        axes.tick_params(labelbottom=is_lowest)
        name_axes(axes, x="trial" if is_lowest else "")
    figure.supylabel("validation accuracy (%)", fontsize=NORMAL, color=INK)
    return figure


def axis_range(values: np.ndarray) -> tuple[float, float]:
    """Axis limits without outliers far below the middle of the values."""
    first, third = np.percentile(values, [25, 75])
    floor = first - 3 * max(third - first, 0.5)
    low, high = float(values[values >= floor].min()), float(values.max())
    height = max(high - low, 0.5)
    return low - 0.1 * height, high + 0.08 * height


def _draw_history(axes: Axes, arm: ArmFacts, trials: pd.DataFrame, low: float) -> None:
    trials = trials.sort_values("trial")
    colour = look(arm.method).colour
    numbers = trials["trial"].to_numpy(dtype=np.float64)
    values = trials[_ACCURACY].to_numpy(dtype=np.float64)
    is_finished = trials["state"].eq("finished").to_numpy(dtype=bool)
    is_below = values < low
    for selected, face in ((is_finished, colour), (~is_finished, "white")):
        visible = selected & ~is_below
        symbols = axes.scatter(
            numbers[visible],
            values[visible],
            s=18,
            facecolors=face,
            edgecolors=colour,
            linewidths=1,
            zorder=3,
        )
        add_words(symbols, trial_words(trials[visible]))
        hidden = selected & is_below
        symbols = axes.scatter(
            numbers[hidden], np.full(hidden.sum(), low), s=30, marker="v", facecolors=face, edgecolors=colour,
            linewidths=1, zorder=3, clip_on=False,
        )  # fmt: skip
        add_words(symbols, trial_words(trials[hidden]))
    if is_finished.any():
        best = np.maximum.accumulate(np.append(values[is_finished], values[is_finished][-1]))
        steps = np.append(numbers[is_finished], numbers[-1])
        axes.step(steps, best, where="post", color=colour, linewidth=1.4, alpha=0.7)


def pareto_fronts(results: StudyResults) -> Figure | None:
    """Validation accuracy in percent over MACs of the finished trials where depth or width were searched.

    Each arm's Pareto front is a staircase. None if no size was searched.
    """
    study, runs = results.facts, results.runs
    arms = [arm for arm in study.arms if arm.objectives > 1]
    finished = runs[runs["kind"].eq("trial") & runs["state"].eq("finished")].dropna(
        subset=[_ACCURACY, "macs"]
    )
    finished = finished[finished["arm"].isin([arm.name for arm in arms]) & finished["macs"].gt(0)]
    if finished.empty:
        return None
    figure, [[axes]] = new_figure(
        4.6,
        "Pareto fronts of the search",
        "Each faint point is a finished trial (one seed, validation set); "
        "the staircase joins an arm's best accuracy for its MACs.",
    )
    macs = finished["macs"].to_numpy(dtype=np.float64)
    log_counts(axes, macs.tolist())
    axes.set_ylim(*axis_range(finished[_ACCURACY].to_numpy(dtype=np.float64)))
    name_axes(axes, x="MACs of one image's forward pass (log scale)", y="validation accuracy (%)")
    many_students = len({arm.student for arm in arms}) > 1
    labels = []
    for arm in arms:
        trials = finished[finished["arm"].eq(arm.name)]
        if trials.empty:
            continue
        style = look(arm.method)
        points = axes.scatter(
            trials["macs"], trials[_ACCURACY], s=11, color=style.colour, alpha=0.3, linewidths=0
        )
        add_words(points, trial_words(trials))
        front = pareto_front(trials)
        x = np.append(front["macs"].to_numpy(dtype=np.float64), macs.max())
        y = front[_ACCURACY].to_numpy(dtype=np.float64)
        y = np.append(y, y[-1])
        axes.step(x, y, where="post", color=style.colour, linewidth=1.5)
        [symbols] = axes.plot(
            x[:-1], y[:-1], style.marker, color=style.colour, markersize=style.size, markeredgecolor="white",
            markeredgewidth=0.6,
        )  # fmt: skip
        add_words(symbols, trial_words(front))
        text = plain(arm.method) + (f"  {plain(arm.student)}" if many_students else "")
        labels.append(Label(text, float(x[-1]), float(y[-1]), style.colour))
    label_lines(axes, labels)
    return figure


def importance_figure(study: StudyFacts, shares: Mapping[str, Mapping[str, float]]) -> Figure | None:
    """The share of the validation accuracy's variance that each hyperparameter explains, one panel per arm.

    Args:
        study: The study's facts.
        shares: For each arm's name, each hyperparameter's share in [0, 1].

    Returns:
        None if no arm has importances.
    """
    pairs = [(arm, _finite(shares.get(arm.name, {}))) for arm in study.arms]
    methods = list(dict.fromkeys(arm.method for arm in study.arms))
    arm_shares = sorted((pair for pair in pairs if pair[1]), key=lambda pair: methods.index(pair[0].method))
    if not arm_shares:
        return None
    columns = min(2, len(arm_shares))
    rows = [arm_shares[start : start + columns] for start in range(0, len(arm_shares), columns)]
    bar_counts = [max(len(values) for _, values in row) for row in rows]
    figure, grid = new_figure(
        1.0 + sum(0.36 + 0.22 * bars for bars in bar_counts),
        "Which hyperparameters mattered",
        "Share of the variance in validation accuracy that a hyperparameter explains by itself, "
        "over the arm's trials of all epochs.",
        heights=[0.1 + bars for bars in bar_counts],
        columns=columns,
    )
    grid[0][0].set_xlim(0, 1.12 * max(max(values.values()) for _, values in arm_shares) or 1)
    for panels, row, bars in zip(grid, rows, bar_counts, strict=True):
        for axes, (arm, values) in zip(panels, row, strict=False):
            _draw_importances(axes, arm, values, bars)
        for axes in panels[len(row) :]:
            axes.set_visible(False)
    return figure


def _finite(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in shares.items() if np.isfinite(value) and value >= 0}


def _draw_importances(axes: Axes, arm: ArmFacts, values: Mapping[str, float], bars: int) -> None:
    ranked: Sequence[tuple[str, float]] = sorted(values.items(), key=lambda item: -item[1])
    colour = look(arm.method).colour
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_color(GRID)
    axes.tick_params(bottom=False, labelbottom=False, left=False, labelleft=False)
    axes.set_ylim(bars - 0.45, -0.55)
    axes.barh(range(len(ranked)), [value for _, value in ranked], height=0.62, color=colour, alpha=0.85)
    for place, (name, value) in enumerate(ranked):
        axes.annotate(
            plain(name, max_length=22), (0, place), xytext=(-5, 0), textcoords="offset points",
            fontsize=SMALL, color=INK, ha="right", va="center",
        )  # fmt: skip
        axes.annotate(
            f"{100 * value:.0f} %", (value, place), xytext=(4, 0), textcoords="offset points", fontsize=SMALL,
            color=QUIET, va="center",
        )  # fmt: skip
    axes.set_title(
        f"{plain(arm.method)}  {plain(arm.student)}", fontsize=NORMAL, fontweight="bold", color=colour,
        loc="left",
    )  # fmt: skip
