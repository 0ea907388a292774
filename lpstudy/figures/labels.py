"""Labels at the ends of lines, without overlaps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import ScaledTranslation

from lpstudy.figures.style import NORMAL, SMALL

_COLUMN_DISTANCE = 110.0
"""Distance in points below which the labels of two line ends share a column."""

_BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85}
"""The box behind a label, so that a line that passes it does not strike it out."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label's text and the end of its line, in data units."""

    text: str
    x: float
    y: float
    colour: str
    shift: float = 0.0
    """Offset in points by which the line's end is drawn right of x."""


def points_per_pixel(axes: Axes) -> float:
    """The size of a pixel in typographic points (1/72 inch)."""
    figure = axes.get_figure(root=True)
    return 72 / (figure.dpi if figure is not None else 72)


def spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The positions nearest to `heights` that lie `gap` apart within [low, high], in the same order.

    If they do not fit, the gap shrinks. The result is the least squares solution, by pool-adjacent-violators
    on the heights minus rank times gap.
    """
    if not heights:
        return []
    order = np.argsort(heights, kind="stable")
    if len(heights) > 1:
        gap = min(gap, (high - low) / (len(heights) - 1))
    ranks = np.arange(len(heights)) * gap
    targets = np.asarray(heights, dtype=np.float64)[order] - ranks
    blocks: list[tuple[float, int]] = []
    for value in targets:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] > mean:
            previous, count = blocks.pop()
            mean, size = (previous * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    pooled = np.concatenate([np.full(size, mean) for mean, size in blocks])
    positions = np.clip(pooled, low, high - ranks[-1]) + ranks
    result = np.empty(len(heights))
    result[order] = positions
    return [float(value) for value in result]


def label_lines(axes: Axes, labels: Sequence[Label], *, offset: float = 14) -> None:
    """Write each label right of its line's end, at or near its height, with a thin leader.

    The limits of the axes must be final.

    Args:
        axes: The panel.
        labels: The labels.
        offset: Distance of the text from the rightmost end of its column, in points.
    """
    figure = axes.get_figure(root=True)
    if figure is None or not labels:
        return
    figure.draw_without_rendering()  # the layout decides the height of a line of text
    points = points_per_pixel(axes)
    box = axes.get_window_extent()
    ends = [axes.transData.transform((label.x, label.y)) * points for label in labels]
    order = sorted(range(len(labels)), key=lambda index: float(ends[index][0]))
    columns: list[list[int]] = []
    for index in order:
        if columns and ends[index][0] - ends[columns[-1][-1]][0] < _COLUMN_DISTANCE:
            columns[-1].append(index)
        else:
            columns.append([index])
    gap = 1.3 * NORMAL
    for column in columns:
        right = max(float(ends[index][0]) for index in column) + offset
        heights = [float(ends[index][1]) for index in column]
        label_heights = spread(heights, gap, box.y0 * points + gap / 2, box.y1 * points - gap / 2)
        for index, height in zip(column, label_heights, strict=True):
            label, (x, y) = labels[index], ends[index]
            axes.annotate(
                label.text, (label.x, label.y), xytext=(right - x, height - y), textcoords="offset points",
                color=label.colour, fontsize=NORMAL, fontweight="bold", va="center_baseline",
                annotation_clip=False, bbox=_BEHIND,
            )  # fmt: skip
            bend = right - x - 9
            start = label.shift + 4.5
            if bend > start:
                path = [(start, 0.0), (bend, 0.0), (right - x - 2, height - y)]
                _leader(axes, label, path)


def _leader(axes: Axes, label: Label, path: Sequence[tuple[float, float]]) -> None:
    """Draw a thin line through offsets in points from the label's end."""
    figure = axes.get_figure(root=True)
    if figure is None:
        return
    across, upward = (np.asarray(values) / 72 for values in zip(*path, strict=True))
    anchor = ScaledTranslation(label.x, label.y, axes.transData)  # type: ignore[arg-type]  # sends one point
    transform = figure.dpi_scale_trans + anchor
    axes.add_artist(
        Line2D(across, upward, color=label.colour, linewidth=0.7, alpha=0.6, transform=transform,
               clip_on=False, zorder=1)
    )  # fmt: skip


def tick_names(axes: Axes, names: Mapping[float, str]) -> None:
    """Set ticks of the x axis with the given texts, lowered where neighbours would touch."""
    figure = axes.get_figure(root=True)
    if figure is None:
        return
    figure.draw_without_rendering()
    points = points_per_pixel(axes)
    ends: list[float] = []  # right ends of the texts on each level, from the axis downwards
    texts = []
    for x, name in sorted(names.items()):
        middle = float(axes.transData.transform((x, 0))[0]) * points
        half = 0.31 * SMALL * max(len(line) for line in name.split("\n"))
        level = next((rank for rank, end in enumerate(ends) if end < middle - half - 4), len(ends))
        ends[level:] = [middle + half, *ends[level + 1 :]]
        texts.append("\n" * (level * (name.count("\n") + 1)) + name)
    axes.xaxis.set_major_locator(FixedLocator(sorted(names)))
    axes.set_xticks(sorted(names), texts, fontsize=SMALL)
