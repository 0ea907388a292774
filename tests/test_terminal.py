"""Foreign text never controls the terminal, and prints in every encoding."""

import io
import json
import re
import sys
from pathlib import Path

import pytest

import lpstudy
from lpstudy import terminal

CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))]
HIDDEN = [
    "\u200b",
    "\u200e",
    "\u202a",
    "\u202e",
    "\u2066",
    "\u2069",
    "\u2028",
    "\u2029",
    "\ufeff",
    "\xad",
    "\ud800",
]
ROOT = Path(lpstudy.__file__).parent


@pytest.mark.parametrize("letter", CONTROLS + HIDDEN)
def test_what_acts_on_a_terminal_is_shown_as_an_escape(
    letter: str, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.show(f"a{letter}b")
    terminal.say(f"a{letter}b")
    for line in capsys.readouterr():
        assert line.removesuffix("\n").isprintable()
        assert line == f"a{letter.encode('unicode_escape', 'surrogatepass').decode()}b\n"


@pytest.mark.parametrize("text", ["", "plain", "Δ `bp` −0.20 ± 0.3", "Hündin, 犬, კატა", "├─┤ …", "a\\x1bb"])
def test_other_text_is_printed_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show(text, "second line")
    assert capsys.readouterr().out == f"{text}\nsecond line\n"


@pytest.mark.parametrize(
    ("encoding", "expected"), [("latin-1", "d \xb1 - \\u65e5"), ("ascii", "d ~ - \\u65e5")]
)
def test_a_letter_that_the_stream_cannot_take_is_shown_as_an_escape(
    encoding: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, write in (("stdout", terminal.show), ("stderr", terminal.say)):
        buffer = io.BytesIO()
        monkeypatch.setattr(sys, name, io.TextIOWrapper(buffer, encoding=encoding))
        write("Δ ± ─ 日")
        getattr(sys, name).flush()
        assert buffer.getvalue().decode(encoding) == f"{expected}\n"


def test_a_message_that_was_broken_into_lines_becomes_one() -> None:
    assert (
        terminal.printable_line(" no such table\n\t[SQL: x]\r\n\x1b[2J ") == "no such table [SQL: x] \\x1b[2J"
    )


def test_json_is_ascii_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"".join(CONTROLS): HIDDEN[:-1]}
    terminal.show_json(value)
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.removesuffix("\n").isprintable()
    assert json.loads(out) == value


def test_nothing_else_in_the_package_prints() -> None:
    prints = re.compile(r"(?<![\w.])print\(|std(?:out|err)\.write|\b_?bar\.write\((?!terminal\.)")
    calls = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted(ROOT.rglob("*.py"))
        if path != ROOT / "terminal.py"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if prints.search(line)
    ]
    assert calls == []
