"""Durations, sizes and other quantities as text, for the output of the commands."""

from collections import Counter
from collections.abc import Iterable

from lpstudy.ledger import Record


def count_states(records: Iterable[Record]) -> Counter[str]:
    """The number of runs in each state."""
    return Counter(record.state for record in records)


def duration(seconds: float) -> str:
    """A duration in words: 45 s, 12 min, 3.5 h, 2.0 days."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def size_words(size: int) -> str:
    """A number of bytes in kB, MB or GB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{three_digits(size / unit)} {name}"
    return f"{three_digits(size / 1e3)} kB"


def three_digits(value: float) -> str:
    """A number with about three significant digits and no exponent: 0.52, 71.3, 4,790."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
