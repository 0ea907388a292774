import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lpstudy.rendering import console_table, write_report
from lpstudy.tables import comparison


def write(folder, frames):
    return write_report(folder, frames.results, frames.importances, links=lambda run: f"http://x/{run}")


@pytest.fixture(scope="module")
def written(make_frames, tmp_path_factory):
    """The report of a study with two methods and two students and a trial with a warning."""
    frames = make_frames(methods=("bp", "lp"))
    frames.runs.at[0, "warnings"] = ["cannot read /home/someone/data/x.png"]
    return frames, write(tmp_path_factory.mktemp("out") / "reports" / "mnist", frames)


def test_every_named_file_is_there_and_none_else(written):
    _, report = written
    text = report.markdown.read_text("utf-8")
    named = set(re.findall(r"\]\((figures/[a-z_]+\.png|[a-z]+\.[a-z]+)\)", text))
    named |= {name.replace(".png", ".svg") for name in named}
    there = {str(path.relative_to(report.markdown.parent)) for path in report.markdown.parent.rglob("*.*")}
    assert there == named
    assert {str(path.relative_to(report.markdown.parent)) for path in report.files} == there
    for path in report.files:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width > 1000
                assert "Software" not in image.info  # no version: other releases give the same bytes


def test_report_has_every_part_that_the_issue_lists(frames, text_of):
    text = text_of(frames).replace("\u00a0", " ")
    for part in (
        "## Comparison", "auxiliary", "training MACs", "teacher's share",
        "finished", "pruned", "failed",
        "accuracy_over_macs.png", "accuracy_over_parameters.png", "learning_curves.png", "importance.png",
        "search_history.png", "## Warnings", "collapse: 97 %", "## Provenance", "sha256 5f3a9c81d2",
        "9f2c41d07be1",
        "0a1b2c3d", "torch 2.15.0", "2 CPU cores", "python -m lpstudy.sweep mnist --trials 12",
        "Every arm's budget: trials per arm 12, epochs 20", "0.0001 to 0.1 (log)", "1 in each arm",
        "http://127.0.0.1:5000/#/runs/arm-kd-convnet-d4-w8",
    ):  # fmt: skip
        assert part in text, part


def test_report_names_no_folder_of_the_machine(written):
    _, report = written
    for path in report.files:
        if path.suffix != ".png":
            text = path.read_text("utf-8")
            assert "/home/" not in text
            assert str(report.markdown.parent.parent) not in text
    assert "--data-root …/data" in report.markdown.read_text("utf-8")


def test_same_frames_give_the_same_bytes(written, tmp_path):
    frames, first = written
    second = write(tmp_path, frames)
    for ours, theirs in zip(first.files, second.files, strict=True):
        assert ours.read_bytes() == theirs.read_bytes(), ours.name


def test_rewriting_removes_figures_that_are_no_longer_true_and_leaves_no_parts(tmp_path, one, make_frames):
    write(tmp_path, one)
    (tmp_path / "figures" / "mine.png").write_bytes(b"mine")
    report = write(tmp_path, make_frames(methods=("bp",), students=("convnet-d4-w8",), trials=0))
    file_names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert file_names == {"mine.png", "importance.png", "importance.svg"}
    assert "accuracy_over_macs.png" not in report.markdown.read_text("utf-8")
    assert not list(tmp_path.rglob("*.part"))


def test_folder_that_cannot_be_made_is_an_os_error(tmp_path, one):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write(tmp_path / "file", one)


def test_failing_write_leaves_the_old_report_whole(tmp_path, one):
    report = tmp_path / "report.md"
    report.write_text("old")
    (tmp_path / "trials.csv").mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError, match=r"trials\.csv"):
        write(tmp_path, one)
    assert report.read_text() == "old"
    assert not list(tmp_path.rglob("*.part"))


def test_comparison_csv_reads_back_as_the_comparison(written):
    frames, report = written
    read = pd.read_csv(report.markdown.with_name("comparison.csv"))
    table = comparison(frames.study, frames.runs)
    assert list(read.columns) == list(table.columns)
    np.testing.assert_allclose(read["delta_bp_low"], table["delta_bp_low"], rtol=1e-8)
    assert read["best_hyperparameters"].tolist() == table["best_hyperparameters"].tolist()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seeds": 1}, "this ranks nothing"),
        ({"trials": 0}, "No final has finished yet"),
        ({"methods": ("kd", "lp")}, "no `bp` to compare it with"),
        ({"methods": ("bp",)}, "only plain back-prop"),
    ],
)
def test_sparse_studies_are_reported_honestly(changes, expected, make_frames, text_of):
    frames = make_frames(students=("convnet-d4-w8",), **changes)
    text = text_of(frames)
    assert expected in text
    assert not re.search(r"\b(nan|none|<na>)\b", text.replace("\nNone.\n", ""), re.IGNORECASE)


def test_lost_finals_are_named(one, text_of):
    row = one.runs.index[one.runs["run_id"].eq("lp-convnet-d4-w8-f3")][0]
    one.runs.loc[row, ["state", "test_accuracy"]] = ["failed", np.nan]
    text = text_of(one)
    assert "Finals left out because they are failed: 1 of `lp` on `convnet-d4-w8`." in text


def test_console_table_fits_a_terminal_and_holds_no_control_characters(make_frames):
    frames = make_frames()
    frames.runs["student"] = "\x1b[31m" + "very-long-name-of-a-student" * 3
    text = console_table(comparison(frames.study, frames.runs))
    lines = text.split("\n")
    assert max(map(len, lines)) <= 110
    assert len(lines) == 2 + 11
    assert "\x1b" not in text
    assert "nan" not in text.lower()


def test_console_table_shows_what_the_comparison_holds(one):
    row = comparison(one.study, one.runs).iloc[2]
    line = next(
        line for line in console_table(comparison(one.study, one.runs)).split("\n") if line.startswith("kd")
    )
    half = (row["delta_bp_high"] - row["delta_bp_low"]) / 2
    assert f"{row['delta_bp_mean']:+.2f} ± {half:.2f}" in line
    assert "24.6 K" in line
    assert line.endswith("8/2/1")


def test_an_arm_with_few_points_is_named(one, text_of):
    bp, *others = one.study.arms
    study = replace(one.study, arms=(replace(bp, points=1), *others), budget={"trials per arm": "3"})
    text = text_of(replace(one, study=study))
    assert "each of which was tried once: `bp` on `convnet-d4-w8` (1 of 3)." in text
    assert "The test set was read for more than one winner" not in text


def test_an_arm_whose_test_set_was_read_for_two_winners_is_named(one, text_of):
    finals = one.runs[one.runs["arm"].eq("kd-convnet-d4-w8") & one.runs["kind"].eq("final")].copy()
    finals["trial"] = finals["trial"] + 1
    finals["run_id"] = finals["run_id"] + "-earlier"
    text = text_of(replace(one, runs=pd.concat([one.runs, finals], ignore_index=True)))
    assert "what all trials chose is in the tables: `kd` on `convnet-d4-w8` (2 winners)." in text


def test_what_the_pruner_saved_is_reported_in_epochs(one, text_of):
    trials = one.runs["kind"].eq("trial")
    assert "The pruner ended" not in text_of(one)  # of runs of before, which do not tell their epochs
    one.runs.loc[trials, "state"] = "finished"
    first = one.runs.index[trials][:2]
    one.runs.loc[first, "state"] = "pruned"
    one.runs.loc[trials, "epochs"] = 20
    one.runs.loc[first, "epochs"] = [10, 15]
    count = int(trials.sum())
    share = f"{100 * 15 / (count * 20):.0f}"
    expected = (
        f"The pruner ended 2 of {count} trials early: 15 of {count * 20:,} epochs of the search ({share} %)"
    )
    assert expected in text_of(one)


def test_what_is_odd_about_data_and_networks_is_among_the_warnings(make_frames, tmp_path):
    frames = make_frames(methods=("bp", "lp"))
    remarks = "2 of 14 test images are also among the training images\n3 of 9 <b>images</b> are transparent"
    of_networks = "student resnet18: its first convolution, of stride 2, is made for large images"
    provenance = {**frames.study.provenance, "data remarks": remarks, "network remarks": of_networks}
    text = write(
        tmp_path, replace(frames, study=replace(frames.study, provenance=provenance))
    ).markdown.read_text()
    section = text.split("## Warnings")[1].split("## ")[0]
    assert "* Data: 2 of 14 test images are also among the training images." in section
    assert "3 of 9" in section
    assert f"* S{of_networks[1:]}." in section
    assert "<b>" not in section
    assert "data remarks" not in text
    assert "network remarks" not in text
