"""The style of all figures: size, fonts, and one colour and marker per method."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from lpstudy.tables.text import without_control_characters

WIDTH = 8.2
"""Width in inches, at which a README's column shows text of 9 to 11 points at about its nominal size."""
DOTS_PER_INCH = 160
INK = "#1f2328"
QUIET = "#59636e"
GRID = "#e4e7eb"
SMALL, NORMAL, LARGE = 8.5, 9.5, 11.5


@dataclass(frozen=True, slots=True)
class Look:
    """The colour and marker of a method in every figure."""

    colour: str
    marker: str
    size: float = 7.0
    """The marker's size in points, chosen so that all markers look equally large."""


# After Okabe and Ito: at least 14 apart in CIELAB for the three forms of colour blindness, and with a
# contrast of at least 4.5 on white, which text needs. Each method also has a marker of its own.
_LOOKS = {
    "bp": Look("#3d434b", "o"),
    "kd": Look("#0a6fd0", "s", 6.5),
    "fitnet": Look("#bd5200", "^"),
    "lp": Look("#008766", "D", 6.2),
    "lp_kd": Look("#8a1a8c", "P", 8.5),
}
_COLOURS = ("#4b3fa6", "#8c1c3c", "#8a6100", "#3d6b00", "#1f7a8c", "#7a4b2a")
_MARKERS = {
    "X": 8.5,
    "<": 7.0,
    "v": 7.0,
    ">": 7.0,
    "p": 7.5,
    "h": 7.5,
    "*": 10.0,
    "d": 7.0,
    "8": 7.0,
    "H": 7.5,
}
_OTHERS = (
    "dkd", "pkt", "dist", "sp", "rkd", "at", "cc", "wttm", "srrl", "crd", "simkd", "reviewkd", "fm",
    "kd_standardized", "dkd_standardized", "bp_long",
)  # fmt: skip
"""Names whose looks differ from each other's: two of one colour have different markers."""


def look(method: str) -> Look:
    """The look of a method; it is the same in every report."""
    if method in _LOOKS:
        return _LOOKS[method]
    if method in _OTHERS:
        rank = _OTHERS.index(method)
    else:
        rank = int.from_bytes(hashlib.sha256(method.encode("utf-8", "replace")).digest()[:4])
    marker, size = [*_MARKERS.items()][rank % len(_MARKERS)]
    return Look(_COLOURS[(rank + rank // 30) % len(_COLOURS)], marker, size)


def plain(text: str, *, max_length: int = 32) -> str:
    """Foreign text for a figure: one line of limited length, without mathematics."""
    line = without_control_characters(text)
    line = line if len(line) <= max_length else f"{line[: max_length - 1]}…"
    return line.replace("$", r"\$")


def new_figure(
    height: float, title: str, subtitle: str, *, heights: Sequence[float] = (1.0,), columns: int = 1
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of `height` inches with a title, a subtitle and a row of panels for each relative height.

    All panels share the x axis, and those of one row the y axis.
    """
    figure = _headed_figure(height, title, subtitle)
    grid = figure.subplots(
        len(heights), columns, squeeze=False, sharex=True, sharey="row", height_ratios=heights
    )
    panels = [list(row) for row in grid]
    for row in panels:
        for axes in row:
            style_axes(axes)
    return figure, panels


def new_panels(
    count: int, title: str, subtitle: str, *, columns: int, row_height: float
) -> tuple[Figure, list[Axes]]:
    """A figure with a title, a subtitle and `count` panels with axes of their own, row by row.

    Args:
        count: The number of panels.
        title: The figure's title.
        subtitle: One or two lines.
        columns: The most panels of a row.
        row_height: Inches of a row.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = _headed_figure(0.8 + row_height * rows, title, subtitle)
    panels = [axes for row in figure.subplots(rows, columns, squeeze=False) for axes in row]
    for axes in panels[count:]:
        axes.set_visible(False)
    for axes in panels[:count]:
        style_axes(axes)
    return figure, panels[:count]


def title_panel(axes: Axes, method: str, words: str, *, lift: float = 0.0) -> None:
    """Write a method's name above a panel in its colour, and words in small type below it.

    Args:
        axes: The panel.
        method: The method's name.
        words: The words, of which 22 letters are shown.
        lift: Points of free space between the panel and the words.
    """
    axes.set_title(
        plain(method, max_length=16), fontsize=NORMAL, fontweight="bold", color=look(method).colour,
        loc="left", pad=12 + lift,
    )  # fmt: skip
    axes.annotate(
        plain(words, max_length=22), (0, 1), xycoords="axes fraction", xytext=(0, 3 + lift),
        textcoords="offset points", fontsize=SMALL - 1, color=QUIET,
    )  # fmt: skip


def _headed_figure(height: float, title: str, subtitle: str) -> Figure:
    lines = subtitle.count("\n") + 1
    header_height = 0.45 + 0.17 * lines
    layout = ConstrainedLayoutEngine(
        w_pad=0.1, h_pad=0.08, wspace=0.02, hspace=0.04, rect=(0, 0, 1, 1 - header_height / height)
    )
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    top = 1 - 0.12 / height
    figure.text(0.012, top, title, fontsize=LARGE, fontweight="bold", color=INK, va="top")
    below = top - 0.25 / height
    figure.text(0.012, below, subtitle, fontsize=SMALL, color=QUIET, va="top", linespacing=1.35)
    return figure


def style_axes(axes: Axes) -> None:
    """Style the frame and grid of a panel."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(colors=QUIET, labelsize=SMALL, length=3)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def name_axes(axes: Axes, *, x: str = "", y: str = "") -> None:
    """Set the axis labels."""
    axes.set_xlabel(x, fontsize=NORMAL, color=INK)
    axes.set_ylabel(y, fontsize=NORMAL, color=INK)


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign, the typographic minus; zero after rounding has no sign."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def count_words(value: float) -> str:
    """A count as text: 249.6 K, 30.1 M, 2.5 G, 64 T."""
    for limit, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= 0.9995 * limit:
            return (
                f"{value / limit:.3g} {unit}" if abs(value) < 999.5 * limit else f"{value / limit:.0f} {unit}"
            )
    return f"{value:.3g}"


def log_counts(axes: Axes, values: Sequence[float]) -> None:
    """Scale the x axis logarithmically around the counts, with ticks such as 20 M."""
    low, high = min(values), max(values)
    axes.set_xscale("log")
    if high <= 1.05 * low:
        axes.set_xlim(low / 2, high * 2.5)
        axes.xaxis.set_major_locator(FixedLocator([low]))
    else:
        margin = max(high / low, 2.0) ** 0.12
        axes.set_xlim(low / margin, high * margin**1.3)  # labels stand to the right
        has_decades = (high / low) > 300
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if has_decades else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count_words(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
