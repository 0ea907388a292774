"""Accuracy on corrupted test images in tables and report, against the finals by hand."""

import re

import numpy as np
import pytest
from scipy.stats import t

from lpstudy.damage import check_figures
from lpstudy.rendering.report_files import report_text, write_report
from lpstudy.rendering.shift_section import shift_section
from lpstudy.tables.arms import arm_results
from lpstudy.tables.facts import SHIFT_COLUMNS
from lpstudy.tables.shift import shift_rows, shift_table
from lpstudy.tables.trials import trials_table

NAMES = [f"shift_{corruption}_{severity}" for corruption in ("noise", "jpeg") for severity in (1, 4)]


@pytest.fixture
def shifted(one):
    """Finals that were measured on two corruptions in two severities."""
    runs, random = one.runs.copy(), np.random.default_rng(0)
    finals = runs["kind"].eq("final")
    for place, name in enumerate(NAMES):
        runs[name] = np.nan
        drop = 3 + 4 * place + random.normal(0, 0.5, finals.sum())
        runs.loc[finals, name] = runs.loc[finals, "test_accuracy"] - drop
    return type(one)(one.study, runs, one.curves, one.importances)


def finals_of(frames, method):
    rows = frames.runs[frames.runs["kind"].eq("final") & frames.runs["method"].eq(method)]
    return rows.set_index(rows["seed"].astype(int)).sort_index()


def half(values) -> float:
    return t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("corruption", ["noise", "jpeg", "mean"])
@pytest.mark.parametrize("severity", [1, 4])
def test_rows_have_means_over_seeds_and_paired_differences(shifted, corruption: str, severity: int) -> None:
    rows = shift_table(shift_rows(arm_results(shifted.study, shifted.runs)))
    row = rows[rows["method"].eq("kd") & rows["corruption"].eq(corruption) & rows["severity"].eq(severity)]
    assert len(row) == 1
    columns = [f"shift_{one}_{severity}" for one in ("noise", "jpeg") if corruption in (one, "mean")]
    kd, bp = (finals_of(shifted, method)[columns].astype(float).mean(axis=1) for method in ("kd", "bp"))
    clean = finals_of(shifted, "kd")["test_accuracy"]
    assert row["accuracy_mean"].item() == pytest.approx(kd.mean())
    assert row["accuracy_low"].item() == pytest.approx(kd.mean() - half(kd))
    assert row["relative"].item() == pytest.approx(100 * kd.mean() / clean.mean())
    assert row["delta_bp_mean"].item() == pytest.approx((kd - bp).mean())
    assert row["delta_bp_high"].item() == pytest.approx((kd - bp).mean() + half(kd - bp))
    assert row["seeds"].item() == 5


def test_the_last_row_of_an_arm_is_the_mean_over_all(shifted) -> None:
    rows = shift_rows(arm_results(shifted.study, shifted.runs))
    assert len(rows) == 3 * (4 + 2 + 1)
    last = rows[6]
    assert (last.corruption, last.severity, last.result.arm.method) == ("mean", None, "bp")
    assert last.accuracy.mean == pytest.approx(
        finals_of(shifted, "bp")[NAMES].astype(float).to_numpy().mean()
    )
    assert last.delta.n == 0


def test_a_final_that_lacks_one_is_left_out_of_the_mean(shifted) -> None:
    first = shifted.runs.index[shifted.runs["kind"].eq("final") & shifted.runs["method"].eq("kd")][0]
    shifted.runs.loc[first, NAMES[0]] = np.nan
    rows = [row for row in shift_rows(arm_results(shifted.study, shifted.runs)) if row.corruption == "mean"]
    kd = {row.severity: row for row in rows if row.result.arm.method == "kd"}
    assert (kd[1].accuracy.n, kd[4].accuracy.n, kd[None].delta.n) == (4, 5, 4)


def test_the_report_has_the_table_and_the_file(shifted, tmp_path) -> None:
    report = write_report(tmp_path, shifted.results, shifted.importances, links=lambda run: "")
    text = report.markdown.read_text()
    table = text[text.index("## Shifted data") :].split("|\n\n")[0]
    head, _, *arms = [line for line in table.splitlines() if line.startswith("|")]
    cells = [re.sub("[`\\\\]", "", cell).strip() for cell in head.strip("|").split("|")]
    assert cells == ["method", "student", "severity 1", "severity 4", "mean %", "of clean %", "Δ bp"]
    assert [line.split("`")[1] for line in arms] == ["bp", "kd", "lp"]
    assert (tmp_path / "shift.csv").read_text().count("\n") == 1 + 3 * 7
    assert (tmp_path / "shift.csv") in report.files


def test_a_study_without_shift_shows_nothing_of_it(one, tmp_path) -> None:
    (tmp_path / "shift.csv").write_text("of an earlier report")
    rows = shift_rows(arm_results(one.study, one.runs))
    assert rows == []
    assert shift_section(rows) is None
    assert not {*SHIFT_COLUMNS} & {*trials_table(one.runs).columns}
    assert "Shifted" not in report_text(one.results, (), links=lambda run: "")
    write_report(tmp_path, one.results, one.importances, links=lambda run: "")
    assert not (tmp_path / "shift.csv").exists()


def test_impossible_accuracies_are_refused() -> None:
    check_figures({"shift_noise_1": 100.0})
    with pytest.raises(ValueError, match="shift_noise_1: must be from 0 to 100"):
        check_figures({"shift_noise_1": 100.1})


def test_winners_of_other_sizes_are_not_compared(searched_frames) -> None:
    runs = searched_frames.runs.copy()
    runs["shift_blur_2"] = runs["test_accuracy"].astype(float) - 1
    results = arm_results(searched_frames.study, runs)
    assert len({result.design for result in results}) > 1
    by_method = {row.result.arm.method: row for row in shift_rows(results) if row.corruption == "blur"}
    for method in ("kd", "lp"):
        same = by_method[method].result.design == by_method["bp"].result.design
        assert by_method[method].delta.n == (3 if same else 0)
