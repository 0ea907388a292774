"""The figure of the winners' test accuracy over their cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from lpstudy.figures.hover import add_words
from lpstudy.figures.labels import Label, label_lines, points_per_pixel, tick_names
from lpstudy.figures.style import INK, SMALL, count_words, log_counts, look, name_axes, new_figure, plain
from lpstudy.tables.arms import mean
from lpstudy.tables.facts import ArmFacts, StudyFacts
from lpstudy.tables.intervals import Interval
from lpstudy.tables.study_results import StudyResults

CostColumn = Literal["macs", "parameters", "training_macs"]
"""The column of the runs' frame that the x axis shows."""
_COST_WORDS: dict[CostColumn, str] = {
    "macs": "MACs of one image's forward pass",
    "parameters": "parameters",
    "training_macs": "training MACs of a final, with the teacher's outputs",
}
_TITLE_WORDS: dict[CostColumn, str] = {
    "macs": "MACs",
    "parameters": "parameters",
    "training_macs": "training compute",
}
_PITCH = 7.5
"""Typographic points between the centres of neighbouring symbols."""


@dataclass(frozen=True, slots=True)
class _Point:
    arm: ArmFacts
    cost: float
    accuracy: Interval
    student: str

    @property
    def mean(self) -> float:
        return self.accuracy.mean

    @property
    def n(self) -> int:
        return self.accuracy.n

    @property
    def sides(self) -> tuple[float, float]:
        """The lengths of the interval below and above the mean; 0 for one seed."""
        interval = self.accuracy
        if interval.n < 2:
            return 0.0, 0.0
        return interval.mean - interval.low, interval.high - interval.mean


def accuracy_over_cost(results: StudyResults, cost: CostColumn) -> Figure | None:
    """Test accuracy in percent over MACs or parameters: winners with 95 % intervals, the teacher as a line.

    Where depth or width is searched, all designs of a front that have finals. A line joins a method's points
    of one family of students. Points of equal cost stand side by side.
    None if no final has finished.
    """
    study, points = results.facts, _points(results, cost)
    if not points:
        return None
    methods = list(dict.fromkeys(point.arm.method for point in points))
    is_crowded = len({point.cost for point in points}) < len(points)
    title = f"Test accuracy over {_TITLE_WORDS[cost]}"
    figure, [[axes]] = new_figure(4.6, title, _subtitle(points, is_crowded))
    log_counts(axes, [point.cost for point in points])
    name_axes(axes, x=f"{_COST_WORDS[cost]} (log scale)", y="test accuracy (%)")
    _set_limits(axes, study, points)
    _draw_teacher(axes, study, cost)
    fixed = {point.cost: plain(point.student) for point in points if point.arm.objectives == 1}
    if fixed and cost != "training_macs":  # there each method has a place of its own
        tick_names(axes, {place: f"{name}\n{count_words(place)}" for place, name in fixed.items()})
    pitch = _pitch(axes, points, len(methods)) if is_crowded else 0.0
    labels = []
    for rank, method in enumerate(methods):
        method_points = sorted(
            (point for point in points if point.arm.method == method), key=lambda point: point.cost
        )
        shift = (rank - (len(methods) - 1) / 2) * pitch
        _draw_method(axes, method_points, shift)
        last = method_points[-1]
        text = plain(method) + (f"  {plain(last.student)}" if last.arm.objectives > 1 else "")
        labels.append(Label(text, last.cost, last.mean, look(method).colour, shift))
    if cost == "training_macs":
        _join_longer_training(axes, points)
    label_lines(axes, labels, offset=14 + pitch * (len(methods) - 1) / 2)
    return figure


def accuracy_over_training(results: StudyResults) -> Figure | None:
    """Test accuracy in percent over the training MACs of a final; None where fewer than two arms have both.

    A line joins back-prop and the arm that trains it longer, on each student.
    """
    if len(_points(results, "training_macs")) < 2:
        return None
    return accuracy_over_cost(results, "training_macs")


def _join_longer_training(axes: Axes, points: Sequence[_Point]) -> None:
    for point in points:
        base = point.arm.fixed.get("method", "")
        for other in points:
            if point.arm.compute_of and (other.arm.method, other.student) == (base, point.student):
                axes.plot(
                    [other.cost, point.cost],
                    [other.mean, point.mean],
                    color=look(base).colour,
                    linewidth=1.1,
                    linestyle=(0, (2, 2)),
                    zorder=2,
                )


def _points(results: StudyResults, cost: CostColumn) -> list[_Point]:
    points = []
    for result in results.arms:
        for design in result.designs:
            size = mean(design.finished_finals[cost])
            if design.accuracy.n and size > 0:
                points.append(_Point(result.arm, size, design.accuracy, design.winner_label))
    return points


def _subtitle(points: Sequence[_Point], is_crowded: bool) -> str:
    few, many = min(point.n for point in points), max(point.n for point in points)
    seeds = f"{few}" if few == many else f"{few} to {many}"
    mean = f"Mean of {seeds} seeds with its 95 % interval" if many > 1 else "One seed: no interval"
    side = "; the methods of one student stand side by side" if is_crowded else ""
    front = "; a line joins the designs of a method's front" if _has_fronts(points) else ""
    return f"{mean}{side}{front}."


def _has_fronts(points: Sequence[_Point]) -> bool:
    searched = [point.arm.name for point in points if point.arm.objectives > 1]
    return len(set(searched)) < len(searched)


def _pitch(axes: Axes, points: Sequence[_Point], methods: int) -> float:
    """The distance of neighbouring symbols in points, smaller where students' groups would overlap."""
    logs = np.unique(np.log([point.cost for point in points]))
    if len(logs) < 2:
        return _PITCH
    low, high = np.log(axes.get_xlim())
    width = axes.get_window_extent().width * points_per_pixel(axes)
    gap = float(np.diff(logs).min() / (high - low)) * width
    return min(_PITCH, 0.8 * gap / methods)


def _draw_method(axes: Axes, points: Sequence[_Point], shift: float) -> None:
    style = look(points[0].arm.method)
    transform = offset_copy(axes.transData, axes.get_figure(root=True), x=shift, units="points")
    families = {point.student.split("-")[0].rstrip("0123456789") for point in points}
    if len(families) == 1:
        costs, means = [point.cost for point in points], [point.mean for point in points]
        axes.plot(costs, means, color=style.colour, linewidth=1.1, alpha=0.4, transform=transform, zorder=2)
    for point in points:
        bars = axes.errorbar(
            point.cost,
            point.mean,
            yerr=[[side] for side in point.sides] if point.n > 1 else None,
            color=style.colour,
            marker=style.marker,
            markersize=style.size,
            markeredgecolor="white",
            markeredgewidth=0.6,
            elinewidth=1.6,
            transform=transform,
            zorder=3,
        )
        below, above = point.sides
        reach = f", 95 % interval {point.mean - below:.2f} to {point.mean + above:.2f}" if point.n > 1 else ""
        words = f"{point.arm.method} on {point.student}: {point.mean:.2f} %{reach}"
        add_words(bars.lines[0], [words])


def _set_limits(axes: Axes, study: StudyFacts, points: Sequence[_Point]) -> None:
    low = min(point.mean - point.sides[0] for point in points)
    high = max(point.mean + point.sides[1] for point in points)
    if study.teacher.test_accuracy is not None:
        low, high = min(low, study.teacher.test_accuracy), max(high, study.teacher.test_accuracy)
    height = max(high - low, 0.5)
    axes.set_ylim(low - 0.08 * height, high + 0.12 * height)


def _draw_teacher(axes: Axes, study: StudyFacts, cost: CostColumn) -> None:
    teacher = study.teacher
    if teacher.test_accuracy is None:
        return
    sizes = {
        "macs": f"{count_words(teacher.macs)} MACs",
        "parameters": f"{count_words(teacher.parameters)} parameters",
        "training_macs": f"trained with {count_words(teacher.training_macs)} MACs"
        if teacher.training_macs
        else "not trained here",
    }
    size_text = sizes[cost]
    axes.axhline(teacher.test_accuracy, color=INK, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1)
    axes.annotate(
        f"teacher {plain(teacher.label)}: {teacher.test_accuracy:.2f} %, {size_text}",
        (0, teacher.test_accuracy),
        xycoords=("axes fraction", "data"),
        xytext=(6, 4),
        textcoords="offset points",
        fontsize=SMALL,
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
