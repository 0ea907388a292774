"""What a reader of an SVG sees who points at a symbol: its run and its numbers."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from matplotlib.artist import Artist

from lpstudy.figures.style import count_words
from lpstudy.tables.arms import mapping
from lpstudy.tables.text import public_text

MARK = "hover:"
"""What the gid of an artist begins with whose symbols have words."""
SEPARATOR = "\u241f"


def add_words(artist: Artist, words: Iterable[str]) -> None:
    """Give the words of each symbol that the artist draws, in their order; `rendering.svg` writes them."""
    joined = SEPARATOR.join(public_text(text).replace(SEPARATOR, " ") for text in words)
    if joined:
        artist.set_gid(MARK + joined)


def trial_words(trials: pd.DataFrame) -> list[str]:
    """Each trial's number, state, accuracy, size and searched hyperparameters."""
    return [_trial(row) for row in trials.to_dict("records")]


def _trial(row: Mapping[Any, Any]) -> str:
    state = "" if row["state"] == "finished" else f" ({row['state']})"
    parts = [f"{row['validation_accuracy']:.2f} %"]
    if not pd.isna(row["macs"]):
        parts.append(f"{count_words(row['macs'])} MACs")
    parts += [f"{name} {value_text(value)}" for name, value in mapping(row["searched"]).items()]
    return f"trial {row['trial']}{state}: {', '.join(parts)}"


def value_text(value: object) -> str:
    """A hyperparameter's value, numbers with three figures."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
