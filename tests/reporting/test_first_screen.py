import re
from dataclasses import replace

import numpy as np
import pytest

from lpstudy.rendering.report_files import report_text
from lpstudy.tables.arms import arm_results
from lpstudy.tables.deciding_seeds import to_decide
from lpstudy.tables.verdicts import leads_over, verdicts

START = "**What would decide more:**"


def line_of(text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(START)]
    return line


@pytest.mark.parametrize("methods", [("bp", "kd", "lp"), ("bp", "kd", "fitnet", "lp", "lp_kd")])
def test_answer_table_open_questions_and_a_figure_come_first(methods, make_frames, text_of):
    text = text_of(make_frames(methods=methods, students=("convnet-d4-w8",)))
    parts = ["# Study mnist", "On `convnet-d4-w8`", "## Comparison", START, "![Differences", "Each row is"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    answer = text[places[1] : places[2]]
    sentences = re.sub(r"\d\.\d", "", answer).count(".")
    assert 2 <= sentences <= 3


def test_a_study_without_differences_shows_accuracy_over_macs_first_and_once(searched_frames, text_of):
    names = ("accuracy_over_macs", "accuracy_over_parameters")
    text = report_text(searched_frames.results, names, links=str)
    assert text.count("accuracy_over_macs.png") == 1
    assert text.index("accuracy_over_macs.png") < text.index("Each row is")
    assert "winners of one size are compared" in line_of(text)


def test_the_line_names_what_is_within_noise_and_how_much_was_detectable(one, text_of):
    line = line_of(text_of(one))
    open_ones = [one for one in verdicts(arm_results(one.study, one.runs)) if one.is_within_noise]
    assert open_ones
    for verdict in open_ones:
        words = f"`{verdict.result.arm.method}` against `bp` on `convnet-d4-w8` (detectable from"
        assert f"{words} {verdict.delta.detectable:.2f} points, " in line
        assert f"{to_decide(verdict.delta, verdict.tests)} to decide)" in line
    assert "within noise with 5 seeds" in line


def test_one_seed_asks_for_more_of_them(make_frames, text_of):
    text = text_of(make_frames(methods=("bp", "kd"), students=("convnet-d4-w8",), seeds=1))
    assert "more seeds, five or so" in line_of(text)


def test_decided_differences_leave_nothing_open(make_frames, text_of):
    frames = make_frames(methods=("bp", "kd"), students=("convnet-d4-w8",))
    rows = frames.runs["method"].eq("kd") & frames.runs["kind"].eq("final")
    frames.runs.loc[rows, "test_accuracy"] += 5
    frames.runs.loc[rows, "test_correct"] = None
    assert line_of(text_of(frames)) == f"{START} no difference to back-prop is open."


def test_the_lead_of_a_method_called_best_is_not_called_open(make_frames, text_of):
    # By Holm's test over its own pairs it beats every rival; over all ten pairs one is within noise.
    frames = make_frames(students=("convnet-d4-w8",), seeds=10)
    best = {one.arm.method: one for one in arm_results(frames.study, frames.runs)}["lp_kd"]
    rivals = [one for one in arm_results(frames.study, frames.runs) if one.arm.method != "lp_kd"]
    assert any(one.is_within_noise for one in leads_over(best, rivals))
    text = text_of(frames)
    assert "**`lp_kd` is best**" in text
    assert "`lp_kd`" not in line_of(text)


@pytest.mark.parametrize("changes", [{"trials": 0}, {"methods": ("bp",)}])
def test_without_a_comparison_there_is_no_such_line(changes, make_frames, text_of):
    assert START not in text_of(make_frames(students=("convnet-d4-w8",), **changes))


def test_failed_finals_are_counted_below_the_table(one, text_of):
    place = one.runs.index[one.runs["run_id"].eq("lp-convnet-d4-w8-f3")][0]
    one.runs.loc[place, ["state", "test_accuracy"]] = ["failed", np.nan]
    text = text_of(one)
    assert "1 of the 5 finals of `lp` failed" in text.split("![Differences")[1]


def test_the_line_names_an_open_comparison_of_each_student(make_frames, text_of):
    students = ("convnet-d4-w8", "convnet-d4-w16")
    frames = make_frames(students=students, seeds=3)
    open_ones = [one for one in verdicts(arm_results(frames.study, frames.runs)) if one.is_within_noise]
    assert len([one for one in open_ones if one.result.arm.student == students[0]]) >= 3
    line = line_of(text_of(frames))
    assert "more." in line  # not all are named
    assert all(f"on `{student}`" in line for student in students)


def test_the_marks_of_the_table_are_explained_below_it(one, text_of):
    text = text_of(one)
    assert "± is half a 95 % interval over seeds and the 10,000 test images of mnist." in text
    twice = replace(one, study=replace(one.study, finals=replace(one.study.finals, searches=2)))
    assert "± is half a 95 % interval over seeds, searches and the 10,000 test images" in text_of(twice)
