"""The figure of the winners' learning curves."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lpstudy.figures.labels import Label, label_lines
from lpstudy.figures.style import INK, NORMAL, look, name_axes, new_figure, plain
from lpstudy.tables.study_results import StudyResults

_METRIC = "validation_accuracy"
_MAX_COLUMNS = 2
_WARM_UP = 0.3
"""The share of first epochs that the axis may cut off, since accuracy rises too steeply there to compare."""


def learning_curves(results: StudyResults) -> Figure | None:
    """Validation accuracy in percent over epochs of the winners' finals: mean over seeds, lowest to highest.

    One panel per student. None without a final's curve.
    """
    curves = results.curves
    panels: dict[str, dict[str, pd.DataFrame]] = {}
    seeds: set[int] = set()
    for result in results.arms:
        names = set(result.finished_finals["run_id"])
        points = curves[curves["run_id"].isin(names) & curves["metric"].eq(_METRIC)].dropna(subset=["value"])
        if points.empty:
            continue
        seeds.add(int(points["run_id"].nunique()))
        over_seeds = points.groupby("epoch")["value"].agg(["mean", "min", "max"])
        panels.setdefault(result.arm.student, {})[result.arm.method] = over_seeds
    if not panels:
        return None
    columns = min(_MAX_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    seed_counts = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    subtitle = (
        f"Mean of {seed_counts} seeds; the band reaches from the lowest to the highest seed."
        if max(seeds) > 1
        else "One seed."
    )
    figure, grid = new_figure(
        1.1 + 2.9 * rows, "Learning curves of the winners", subtitle, heights=[1.0] * rows, columns=columns
    )
    panel_axes = [axes for row in grid for axes in row]
    for axes in panel_axes[len(panels) :]:
        axes.set_visible(False)
    low, high = _limits(list(panels.values()))
    for axes in panel_axes:
        axes.set_ylim(low, high)
    last = max(int(frame.index.max()) for panel in panels.values() for frame in panel.values())
    panel_axes[0].set_xlim(0 if last > 1 else 0.5, last * 1.01 if last > 1 else 1.5)
    for index, (axes, (student, methods)) in enumerate(zip(panel_axes, panels.items(), strict=False)):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        is_lowest = index + columns >= len(panels)
        axes.tick_params(labelbottom=is_lowest)
        name_axes(
            axes, x="epoch" if is_lowest else "", y="validation accuracy (%)" if index % columns == 0 else ""
        )
        if len(panels) > 1:
            axes.set_title(plain(student), fontsize=NORMAL, fontweight="bold", color=INK, loc="left")
        for method, frame in methods.items():
            _draw(axes, method, frame)
    for axes, methods in zip(panel_axes, panels.values(), strict=False):
        label_lines(axes, [_label(method, frame) for method, frame in methods.items()], offset=16)
    return figure


def _draw(axes: Axes, method: str, frame: pd.DataFrame) -> None:
    style = look(method)
    epochs = frame.index.to_numpy(dtype=np.float64)
    marker = style.marker if len(frame) == 1 else None
    axes.fill_between(epochs, frame["min"], frame["max"], color=style.colour, alpha=0.12, linewidth=0)
    axes.plot(epochs, frame["mean"], color=style.colour, linewidth=1.5, marker=marker)


def _label(method: str, frame: pd.DataFrame) -> Label:
    return Label(plain(method), float(frame.index[-1]), float(frame["mean"].iloc[-1]), look(method).colour)


def _limits(panels: Sequence[dict[str, pd.DataFrame]]) -> tuple[float, float]:
    """Limits of the accuracy axis: the values after the warm-up, with a margin."""
    frames = [frame for panel in panels for frame in panel.values()]
    low = min(float(frame["min"].iloc[int(_WARM_UP * len(frame)) :].min()) for frame in frames)
    high = max(float(frame["max"].max()) for frame in frames)
    height = max(high - low, 0.5)
    return low - 0.05 * height, high + 0.06 * height
