"""A method whose student has parts beyond the others': its accuracy is told, and compared with none."""

import numpy as np
import pytest
from answers import answer_paragraphs

from lpstudy.tables import comparison
from lpstudy.tables.arms import arm_results
from lpstudy.tables.verdicts import verdicts

LABEL = "convnet-d4-w8-teacher-head"


@pytest.fixture
def frames(make_frames):
    """bp, kd and lp on one student; the student of kd ends in the teacher's classifier."""
    frames = make_frames(methods=("bp", "kd", "lp"), students=("convnet-d4-w8",))
    rows = frames.runs["method"].eq("kd")
    frames.runs.loc[rows, ["student", "parameters", "macs"]] = [LABEL, 40_000, 2_000_000]
    return frames


def test_the_others_are_compared_and_it_is_named_with_its_size(frames) -> None:
    (paragraph,) = answer_paragraphs(frames.study.teacher, arm_results(frames.study, frames.runs))
    text = paragraph.replace("\u00a0", " ")
    assert "over plain back-prop" in text
    assert "depth and width were searched" not in text
    assert "Not compared, for their students have added parts: `kd` " in text
    assert f"with `{LABEL}` (40 K parameters, 2 M MACs)." in text
    assert text.count("`kd`") == 1


def test_its_row_has_its_label_and_no_difference(frames) -> None:
    table = comparison(frames.study, frames.runs).set_index("method")
    assert table.loc["kd", "student"] == LABEL
    assert np.isnan(table.loc["kd", "delta_bp_mean"])
    assert np.isfinite(table.loc["lp", "delta_bp_mean"])
    by_method = {one.result.arm.method: one for one in verdicts(arm_results(frames.study, frames.runs))}
    assert np.isnan(by_method["kd"].p_value)
    assert by_method["kd"].differs_in_size
    assert by_method["lp"].tests == 1


def test_alone_it_is_reported_as_any_other(make_frames) -> None:
    frames = make_frames(methods=("kd",), students=("convnet-d4-w8",))
    frames.runs["student"] = LABEL
    (paragraph,) = answer_paragraphs(frames.study.teacher, arm_results(frames.study, frames.runs))
    assert "`kd` has the highest test accuracy" in paragraph
