"""Numbers and lists as the text of a cell or sentence; `NOTHING` where there is no number."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from lpstudy.figures.style import count_words, signed
from lpstudy.tables.deciding_seeds import to_decide
from lpstudy.tables.intervals import Interval
from lpstudy.tables.verdicts import Verdict

NOTHING = "–"


def count(value: object) -> str:
    """249.6 K, 30.15 M: a count of at most four figures."""
    number = real(value)
    return NOTHING if number is None else count_words(number)


def ratio(value: object) -> str:
    """A ratio: 36.2×."""
    number = real(value)
    if number is None:
        return NOTHING
    return f"{number:.1f}×" if number < 99.95 else f"{number:.0f}×"


def accuracy(value: Interval) -> str:
    """88.42 ± 0.26: mean and half the 95 % interval, in percent."""
    if value.n == 0:
        return NOTHING
    return f"{value.mean:.2f}" + (f" ± {value.half_width:.2f}" if value.n > 1 else "")


def difference(value: Interval) -> str:
    """+0.55 ± 0.17, in percentage points."""
    if value.n == 0:
        return NOTHING
    return signed(value.mean) + (f" ± {value.half_width:.2f}" if value.n > 1 else "")


def published(row: "pd.Series[Any]") -> str:
    """74.92 (+0.31): a published accuracy, and the study's less it where the recipe is the same."""
    value, difference = real(row["published"]), real(row["delta_published"])
    if value is None:
        return NOTHING
    return f"{value:.2f}" + ("" if difference is None else f" ({signed(difference)})")


def doubt(verdict: Verdict) -> str:
    """Why a difference is not told from noise, from which size it is, and what would decide this one."""
    delta = verdict.delta
    if delta.is_tied and delta.n == 2:
        return "two seeds agree to the image: how far seeds spread, and so this difference, cannot be told"
    decide = f"{to_decide(delta, verdict.tests)} to decide"
    if delta.excludes_zero:
        return f"beyond noise alone, not as one of {verdict.tests} comparisons, {decide}"
    same = f", all {delta.n} seeds agree to the image" if delta.is_tied else ""
    return f"detectable from {delta.detectable:.2f} points{same}, {decide}"


def value(cell: object) -> str:
    """A hyperparameter: numbers with three significant figures, whole ones as they are."""
    if isinstance(cell, float) and math.isfinite(cell):
        return f"{cell:.3g}"
    return str(cell)


def span(value: object) -> str:
    """A duration: 0.52 s, 34 s, 12.3 min, 3.5 h."""
    seconds = real(value)
    if seconds is None:
        return NOTHING
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min")):
        if seconds < limit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 3600:,.1f} h"


def size(value: object) -> str:
    """Bytes: 12 kB, 640 MB, 2.1 GB."""
    number = real(value)
    if number is None:
        return NOTHING
    unit, name = next((pair for pair in ((1e9, "GB"), (1e6, "MB")) if number >= pair[0]), (1e3, "kB"))
    return f"{number / unit:.3g} {name}"


def energy(value: object) -> str:
    """Joules as watt-hours: 0.12 Wh, 3.4 kWh."""
    joules = real(value)
    if joules is None:
        return NOTHING
    hours = joules / 3600
    return f"{hours / 1000:.3g} kWh" if hours >= 1000 else f"{hours:.3g} Wh"


def seeds(n: int) -> str:
    """A number of seeds: 5 seeds."""
    return "1 seed" if n == 1 else f"{n} seeds"


def listing(pieces: list[str]) -> str:
    """A list as text: a, b and c."""
    return " and ".join([", ".join(pieces[:-1]), pieces[-1]]) if len(pieces) > 1 else "".join(pieces)


def interval_of(row: "Mapping[str, object] | pd.Series[Any]", name: str) -> Interval:
    """The interval in three columns; its n tells no more than whether there is a mean and whether bounds."""
    mean, low, high = (real(row[f"{name}_{part}"]) for part in ("mean", "low", "high"))
    if mean is None:
        return Interval(math.nan, math.nan, math.nan, 0)
    if low is None or high is None:
        return Interval(mean, math.nan, math.nan, 1)
    return Interval(mean, low, high, 2)


def real(value: object) -> float | None:
    """The finite number in a cell; None where there is none."""
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    item = getattr(value, "item", None)  # a NumPy scalar
    return real(item()) if callable(item) else None
