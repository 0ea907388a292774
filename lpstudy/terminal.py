"""Printing for the commands: escapes control characters, and never fails on a stream's encoding."""

import json
import re
import sys
from typing import TextIO

_PLAIN: dict[str, str | int | None] = {
    "─": "-",
    "–": "-",
    "−": "-",
    "×": "x",
    "±": "~",
    "Δ": "d",
    "…": "~",
    "“": '"',
    "”": '"',
    "’": "'",
}
"""A plain letter for each sign in tables and messages; one letter each keeps columns aligned."""
_BREAKS = re.compile(r"\s*[\t\n\r]\s*")


def printable(text: str) -> str:
    r"""Escape the characters that a terminal interprets or hides, such as `\x1b`.

    These are control characters (C0, DEL, C1), overrides of the direction of writing, separators of lines and
    paragraphs, invisible characters and blanks other than the space.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def printable_line(text: str) -> str:
    """The text escaped, in one line: for messages of libraries that have several lines."""
    return printable(_BREAKS.sub(" ", text.strip()))


def for_stream(text: str, stream: TextIO) -> str:
    """The text escaped, and limited to the stream's encoding: signs become plain letters, others escapes."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    escaped = printable(text)
    try:
        escaped.encode(encoding)
    except UnicodeEncodeError:
        plain: dict[str, str | int | None] = {
            sign: letter for sign, letter in _PLAIN.items() if not _has(encoding, sign)
        }
        escaped = (
            escaped.translate(str.maketrans(plain)).encode(encoding, "backslashreplace").decode(encoding)
        )
    return escaped


def _has(encoding: str, letter: str) -> bool:
    try:
        letter.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows progress bars."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and bool(kernel.IPKernelApp.initialized())


def show(*lines: str) -> None:
    """Print lines to standard output, with control characters escaped."""
    _print(lines, sys.stdout)


def say(*lines: str, before: str = "", end: str = "\n") -> None:
    """Print lines to standard error, escaped; only `before` and `end` may control the terminal."""
    _print(lines, sys.stderr, before=before, end=end)


def show_json(value: object, *, indent: int | None = None) -> None:
    """Print a value as JSON in ASCII to standard output.

    Raises:
        ValueError: It contains a number that JSON cannot represent.
    """
    text = json.dumps(value, indent=indent, allow_nan=False)
    print(text.replace("\x7f", "\\u007f"))


def warn(*lines: str) -> None:
    """Print each line to standard error as a warning."""
    for line in lines:
        say(f"warning: {line}")


def _print(lines: tuple[str, ...], stream: TextIO, *, before: str = "", end: str = "\n") -> None:
    text = "\n".join(for_stream(line, stream) for line in lines)
    print(f"{before}{text}", end=end, file=stream, flush=stream is sys.stderr)
