"""A name is only text: it runs in no spreadsheet, leaves no folder and carries no credentials."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser

from lpstudy.figures.style import plain
from lpstudy.rendering.markdown import block, code, escape
from lpstudy.space import find_study_file
from lpstudy.tables import spreadsheet_cell, spreadsheet_safe
from lpstudy.tables.text import public_text
from lpstudy.teacher.store import Store

FORMULAS = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\ttab", "\rreturn", " =1", "\xa0=1", "\u3000=1",
    "\u200b=1", "\ufeff=1", "\u202e=1", "\x00=1", '"=1', "'=1", '"\'"=1', '" "=1', "“=1", "`=1", "＝1", "＋1",
    "－1", "＠x", "=cmd|' /C calc'!A0", '=HYPERLINK("http://x","y")', "\x1b=1", "\v=1", "\x85=1",
]  # fmt: skip
TEXTS = ["", "a", "a=1", "a-b", "1-2", "{}", '{"a": -1}', "'", '"', "kd", "(=1)", "|x", "…/x", "%", "−1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_run_begins_with_an_apostrophe(text: str) -> None:
    assert spreadsheet_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", TEXTS)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert spreadsheet_cell(text) == text


@pytest.mark.parametrize(
    "number", [-1, -1.5, 0, 1e-9, math.inf, np.float64(-2), np.int64(-3), True, None, pd.NA]
)
def test_numbers_stay_numbers(number: object) -> None:
    assert spreadsheet_cell(number) is number


def test_a_frames_cells_and_heads_are_safe_and_its_numbers_are_kept() -> None:
    frame = pd.DataFrame({"=head": ["=1", "a"], "n": [-1, 2], "x": [-0.5, np.nan]})
    safe = spreadsheet_safe(frame)
    assert list(safe.columns) == ["'=head", "n", "x"]
    assert safe["'=head"].tolist() == ["'=1", "a"]
    assert safe["n"].tolist() == [-1, 2]
    assert safe["x"].dtype == np.float64


@pytest.mark.parametrize(
    "text", ["$x$", r"\$x$", r"$\frac{$", "$$", r"\\$\\$", "a$b", r"$\input{/etc/passwd}$"]
)
def test_a_figure_shows_dollars_and_typesets_nothing(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def typeset(*_: object, **__: object) -> None:
        raise AssertionError("read as mathematics")

    monkeypatch.setattr(MathTextParser, "parse", typeset)
    figure = Figure()
    shown = figure.text(0, 0, plain(text))
    figure.draw_without_rendering()
    assert shown.get_window_extent().width > 0


@pytest.mark.parametrize("text", ["\x1b[2J", "a\u202eb", "a\u2028b", "a\rb", "a\0b", "\ud800"])
def test_nothing_shown_acts_on_a_terminal_or_turns_text_around(text: str) -> None:
    for shown in (escape(text), code(text), plain(text), public_text(text)):
        assert shown.isprintable()


def test_no_credentials_get_into_a_report() -> None:
    text = "sweep --ledger postgresql://me:CANARY@host/db --storage s3://CANARY@bucket"
    for shown in (escape(text), code(text), block(text), public_text(text)):
        assert "CANARY" not in shown
        assert "me" not in public_text(text).split()


@pytest.mark.parametrize("name", ["../../up", "/up", "a/../../up", "map\0x", "..", "con", "a" * 40 + "/" * 9])
def test_an_output_of_the_teacher_stays_in_its_banks_folder(name: str, tmp_path: Path) -> None:
    store = Store.__new__(Store)  # the path alone: a plan would need a network with such a map
    store.folder = tmp_path / "bank"
    store.plan = type("Plan", (), {"dtype": "fp16"})()
    path = store._path(name)
    assert path.parent == store.folder
    assert path.name == path.name.replace("/", "").replace("\0", "")
    assert path.resolve().parent == store.folder.resolve()


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/b", "..", "a\0b", "x" * 300, "~root", "$HOME", "a b", "-x"]
)
def test_a_study_is_looked_for_in_its_folder_alone(name: str) -> None:
    with pytest.raises(ValueError, match="is not a study name") as error:
        find_study_file(name)
    assert str(error.value).isprintable()
