"""Strings that come from outside, made fit for the place they are shown in."""

import json
import math
import re
from collections.abc import Mapping

import pandas as pd

_ABSOLUTE_PATH = re.compile(
    r"""(?:(?<![\w.:/…~<-])|(?<=-[A-Z])|(?<=file:/)|(?<=file://))  # not within a relative path or a URL
    (?:[A-Za-z]:[\\/]|/)(?:[^\s'"`|,;:()\[\]{}<>\\/]+[\\/])*  # the folders
    (?P<name>[^\s'"`|,;:()\[\]{}<>\\/]+)[\\/]?  # and what they hold""",
    re.VERBOSE,
)
_DATABASE_FILE = re.compile(r"\b(\w+):/{3,}(?:[^\s/'\"]+/)*([^\s/'\"]+)")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def one_line(text: str) -> str:
    """The text with control characters and runs of blanks turned into single spaces."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def without_folders(text: str) -> str:
    """The text with `…/name` in place of each absolute path, so that a report names no machine's folders."""
    text = _DATABASE_FILE.sub(r"\1:…/\2", text)
    return _ABSOLUTE_PATH.sub(r"…/\g<name>", text)


def hyperparameters_json(values: Mapping[str, object]) -> str:
    """Sorted JSON; numbers that JSON does not know become null."""
    plain = {name: _json_value(value) for name, value in values.items()}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _json_value(value: object) -> bool | int | float | str | None:
    item = getattr(value, "item", None)
    if callable(item):  # a NumPy scalar
        value = item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str) else str(value)


def spreadsheet_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with an apostrophe before each string that a spreadsheet would run as a formula.

    Source: OWASP, "CSV Injection".
    """
    return frame.map(_defused)


def _defused(cell: object) -> object:
    if isinstance(cell, str) and (
        cell.startswith(_FORMULA_STARTS) or cell.lstrip().startswith(_FORMULA_STARTS)
    ):
        return f"'{cell}"
    return cell
