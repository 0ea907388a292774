"""Sanitising of foreign text for Markdown, JSON and spreadsheets."""

import json
import math
import re
from collections.abc import Mapping

import pandas as pd

from lpstudy.redaction import without_credentials

_ABSOLUTE_PATH = re.compile(
    r"""(?:(?<![\w.:/…~<-])|(?<=-[A-Z])|(?<=file:/)|(?<=file://))  # not within a relative path or a URL
    (?:[A-Za-z]:[\\/]|/)(?:[^\s'"`|,;:()\[\]{}<>\\/]+[\\/])*  # the folders
    (?P<name>[^\s'"`|,;:()\[\]{}<>\\/]+)[\\/]?  # and what they hold""",
    re.VERBOSE,
)
_DATABASE_FILE = re.compile(r"\b(\w+):/{3,}(?:[^\s/'\"]+/)*([^\s/'\"]+)")
_FORMULA_STARTS = frozenset("=+-@＝＋－＠")
"""First characters of formulas, also the full-width ones, which Japanese spreadsheets accept."""
_QUOTES = frozenset("'\"`‘’“”«»")


def without_control_characters(text: str) -> str:
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


def _json_value(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_json_value(one) for one in value]
    item = getattr(value, "item", None)
    if callable(item):  # a NumPy scalar
        value = item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str) else str(value)


def spreadsheet_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with every cell and every column's name as `spreadsheet_cell` gives it."""
    return frame.map(spreadsheet_cell).rename(columns=spreadsheet_cell)


def spreadsheet_cell(value: object) -> object:
    """The value for a cell of a CSV file: an apostrophe goes before a text that a spreadsheet would run.

    That is one that begins with a sign of formulas, blanks, quotes and invisible characters before it left
    out, or with a tab or the end of a line. Numbers stay numbers.

    Source: OWASP, "CSV Injection".
    """
    if not isinstance(value, str):
        return value
    begin = next((c for c in value if not (c in _QUOTES or c.isspace() or not c.isprintable())), "")
    return f"'{value}" if begin in _FORMULA_STARTS or value.startswith(("\t", "\r", "\n")) else value


def public_text(text: str) -> str:
    """The text on one line, without absolute paths and without credentials in URLs."""
    return without_folders(without_credentials(without_control_characters(text)))
