"""Back-prop that trains as long as another method's compute allows: the report's words and its figure."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lpstudy import figures
from lpstudy.rendering.equal_compute import equal_compute_notes
from lpstudy.tables.arms import arm_results

Frames = Any  # of the conftest
Make = Callable[..., Frames]
STUDENT = "convnet-d4-w8"
BP, LONG = 1.6e13, 6.0e13


def with_longer(make_frames: Make, *, lead: float) -> Frames:
    """Back-prop, kd, and back-prop for 75 instead of 20 epochs, which is `lead` points behind kd."""
    frames = make_frames(methods=("bp", "kd", "bp_long"), students=(STUDENT,), seeds=5)
    arms = [
        replace(arm, epochs=75, compute_of="kd", fixed={"method": "bp", **arm.fixed})
        if arm.method == "bp_long"
        else replace(arm, epochs=20)
        for arm in frames.study.arms
    ]
    runs = frames.runs.copy()
    finals = runs["kind"].eq("final")
    kd = runs.loc[finals & runs["method"].eq("kd"), "test_accuracy"].to_numpy()
    mine = finals & runs["method"].eq("bp_long")
    runs.loc[mine, "test_accuracy"] = kd - lead + np.linspace(-0.1, 0.1, 5)
    runs.loc[mine, "test_correct"] = ""
    runs.loc[mine, "training_macs"] = LONG
    return replace(frames, study=replace(frames.study, arms=tuple(arms)), runs=runs)


@pytest.mark.parametrize(
    ("lead", "words"),
    [
        (5.0, "+5.00 ± "),
        (5.0, "the teacher is worth more than longer training"),
        (-5.0, "longer training is worth more than the teacher"),
        (0.0, "these seeds do not tell them apart"),
    ],
)
def test_the_report_says_whether_the_teacher_is_worth_its_compute(
    lead: float, words: str, make_frames: Make
) -> None:
    frames = with_longer(make_frames, lead=lead)
    (note,) = equal_compute_notes(frames.study, arm_results(frames.study, frames.runs))
    assert words in note
    # The conftest's finals of kd: 1.6e13 of the student, 4.4e13 of the teacher's outputs.
    assert "`bp_long` is `bp` for 75 instead of 20 epochs on `convnet-d4-w8`" in note
    assert f"outputs ({100 * 4.4 / 6.0:.0f} %) but without the teacher's own training" in note


def test_a_study_without_such_an_arm_has_no_note(make_frames: Make) -> None:
    frames = make_frames(methods=("bp", "kd"), students=(STUDENT,), seeds=2)
    assert equal_compute_notes(frames.study, arm_results(frames.study, frames.runs)) == []


def test_a_line_joins_back_prop_and_its_longer_training(make_frames: Make) -> None:
    frames = with_longer(make_frames, lead=1.0)
    figure = figures.accuracy_over_training(frames.results)
    (axes,) = figure.axes
    results = {one.arm.method: one for one in arm_results(frames.study, frames.runs)}
    expected = [[BP, results["bp"].accuracy.mean], [LONG, results["bp_long"].accuracy.mean]]
    lines = [line.get_xydata().tolist() for line in axes.lines if len(line.get_xydata()) == 2]
    assert expected in lines


def test_one_arm_has_no_figure_of_training_compute(make_frames: Make) -> None:
    frames = make_frames(methods=("bp",), students=(STUDENT,), seeds=2)
    assert figures.accuracy_over_training(frames.results) is None
