"""The figure of the study's timeline: its runs as bars over wall time."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from lpstudy.figures.hover import add_words
from lpstudy.figures.style import INK, SMALL, name_axes, new_figure
from lpstudy.tables.study_results import StudyResults

_COLOURS = {
    "finished trial": "#0a6fd0",
    "pruned trial": "#a9c7e8",
    "finished candidate": "#8a6100",
    "finished final": "#008766",
    "failed": "#c0341d",
    "not ended": "#8b939c",
}
_MOST_LANES = 32
"""Lanes beyond which bars share the last one."""
_LATEST = 2e11
"""The last time that is shown, in seconds since 1970: a later one has no date."""
_UNITS = ((2 * 86400, 86400, "days"), (2 * 3600, 3600, "hours"), (120, 60, "minutes"), (0, 1, "seconds"))


def timeline(results: StudyResults) -> Figure | None:
    """Each run from its start to its end, in the first lane that is free; colours are how it ended.

    A run that was resumed is one bar. One that has not ended reaches to the last known time. None without a
    run whose start is known.
    """
    runs = results.runs
    known = runs[runs["started"].gt(0) & runs["started"].lt(_LATEST)].sort_values("started", kind="stable")
    if known.empty:
        return None
    starts = known["started"].to_numpy("float64")
    ends = known["ended"].where(known["ended"].lt(_LATEST)).to_numpy("float64")
    last = float(max(starts.max(), np.nanmax(np.append(ends, starts.max()))))
    ends = np.maximum(np.where(np.isfinite(ends), ends, last), starts)
    lanes = lanes_of(starts, ends)
    first = float(starts.min())
    span = max(last - first, 1e-3)
    unit, name = next((size, name) for above, size, name in _UNITS if span >= above)
    figure, [[axes]] = new_figure(
        min(7.5, 1.7 + 0.22 * (max(lanes) + 1)),
        "Timeline of the study",
        f"Each bar is a run; lanes are runs at the same time. From {_when(first)}.",
    )
    left, right = (starts - first) / unit, (ends - first) / unit
    right = np.maximum(right, left + 0.001 * span / unit)
    kinds = np.array([_kind(row) for row in known[["kind", "state"]].to_dict("records")])
    words = np.array([_words(row, unit, name) for row in known.to_dict("records")])
    for kind, colour in _COLOURS.items():
        chosen = kinds == kind
        if chosen.any():
            bars = PolyCollection(
                _bars(left[chosen], right[chosen], np.array(lanes)[chosen]), facecolors=colour,
                edgecolors="white", linewidths=0.15,
            )  # fmt: skip
            add_words(bars, words[chosen].tolist())
            axes.add_collection(bars)
    axes.set_xlim(-0.01 * span / unit, 1.01 * span / unit)
    axes.set_ylim(max(lanes) + 0.6, -0.6)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    name_axes(axes, x=f"{name} since the first run")
    handles = [Patch(color=colour, label=kind) for kind, colour in _COLOURS.items() if (kinds == kind).any()]
    figure.legend(
        handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=SMALL,
        labelcolor=INK, handlelength=1.2,
    )  # fmt: skip
    return figure


def lanes_of(
    starts: Sequence[float] | NDArray[np.float64], ends: Sequence[float] | NDArray[np.float64]
) -> list[int]:
    """For each run, by rising start, the first lane whose last run has ended; at most _MOST_LANES lanes."""
    free_at: list[float] = []
    lanes = []
    for start, end in zip(starts, ends, strict=True):
        lane = next((place for place, free in enumerate(free_at) if free <= start), len(free_at))
        if lane < min(len(free_at), _MOST_LANES):
            free_at[lane] = end
        elif lane < _MOST_LANES:
            free_at.append(end)
        else:
            lane = _MOST_LANES - 1
        lanes.append(lane)
    return lanes


def _kind(row: Mapping[Any, Any]) -> str:
    if row["state"] == "finished":
        return (
            f"finished {row['kind']}" if row["kind"] in ("trial", "candidate", "final") else "finished trial"
        )
    return {"pruned": "pruned trial", "failed": "failed"}.get(str(row["state"]), "not ended")


def _words(row: Mapping[Any, Any], unit: float, name: str) -> str:
    seed = "" if row["kind"] == "trial" else f" seed {row['seed']}"
    end = row["ended"]
    took = f", {(end - row['started']) / unit:.3g} {name}" if end < _LATEST else ""
    return f"{row['arm']}, {row['kind']} {row['trial']}{seed}: {row['state']}{took}"


def _bars(
    starts: NDArray[np.float64], ends: NDArray[np.float64], lanes: NDArray[np.int64]
) -> list[NDArray[np.float64]]:
    """The four corners of each bar."""
    top, bottom = lanes - 0.4, lanes + 0.4
    corners = [(starts, top), (ends, top), (ends, bottom), (starts, bottom)]
    return list(np.stack([np.column_stack(corner) for corner in corners], axis=1))


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
