"""What the commands print: text from outside acts on no terminal, and no stream's encoding stops it."""

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
"""Of the signs that tables and messages use, one letter each: columns keep their widths."""
_BREAKS = re.compile(r"\s*[\t\n\r]\s*")


def printable(text: str) -> str:
    r"""The text with escapes in place of what a terminal acts on or hides, `\x1b` for one.

    These are control characters (C0, DEL, C1), overrides of the direction of writing, separators of lines and
    paragraphs, invisible characters and blanks other than the space.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def single_line(text: str) -> str:
    """The text `printable`, with a space where a line ends: for messages that a library broke into lines."""
    return printable(_BREAKS.sub(" ", text.strip()))


def for_stream(text: str, stream: TextIO) -> str:
    """The text `printable`, in letters of the stream's encoding: signs by plain ones, all else by escapes."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    shown = printable(text)
    try:
        shown.encode(encoding)
    except UnicodeEncodeError:
        plain: dict[str, str | int | None] = {
            sign: letter for sign, letter in _PLAIN.items() if not _has(encoding, sign)
        }
        shown = shown.translate(str.maketrans(plain)).encode(encoding, "backslashreplace").decode(encoding)
    return shown


def _has(encoding: str, letter: str) -> bool:
    try:
        letter.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def show(*lines: str) -> None:
    """Print lines, each `printable`, to standard output."""
    _print(lines, sys.stdout)


def say(*lines: str, before: str = "", end: str = "\n") -> None:
    """Print lines, each `printable`, to standard error; `before` and `end` may act on the terminal."""
    _print(lines, sys.stderr, before=before, end=end)


def show_json(value: object, *, indent: int | None = None) -> None:
    """Print a value as JSON in ASCII to standard output.

    Raises:
        ValueError: It holds a number that JSON does not know.
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
