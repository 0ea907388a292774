"""Hostile names in a study's files: no table's cell is a formula, and no figure typesets them."""

import csv
from dataclasses import replace

import pytest

from lpstudy.rendering import write_report
from lpstudy.tables.text import spreadsheet_cell

HOSTILE = ('"=1+1 $x$ ../../up', "\t@x", "postgresql://me:CANARY@host/db")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_of_a_report_is_a_formula_and_no_file_lies_elsewhere(text, make_frames, tmp_path):
    frames = make_frames(methods=("bp", "kd"), students=("convnet-d4-w8",), seeds=2, trials=3)
    arms = tuple(
        replace(arm, student=text, ranges={text: text}, fixed={text: text}) for arm in frames.study.arms
    )
    study = replace(frames.study, name=text, data=text, arms=arms, provenance={text: text, "command": text})
    study = replace(study, teacher=replace(study.teacher, label=text))
    frames.runs["student"] = text
    frames.runs["state"] = frames.runs["state"].where(frames.runs.index != 1, text)
    frames.runs.at[0, "warnings"] = [text]
    frames.runs.at[0, "searched"] = {text: text}
    folder = tmp_path / "reports" / "study"
    report = write_report(folder, replace(frames.results, facts=study), {}, links=lambda run: text)
    assert [path.name for path in tmp_path.iterdir()] == ["reports"]
    assert all(path.resolve().is_relative_to(folder) for path in report.files)
    for name in ("comparison.csv", "trials.csv"):
        with (folder / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        for cell in (cell for row in rows for cell in row):
            if not _number(cell):
                assert cell.startswith("'") or spreadsheet_cell(cell) == cell
    assert "CANARY" not in (folder / "report.md").read_text("utf-8")


def _number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True
