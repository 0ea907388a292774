"""Accuracy on corrupted test images in tables and report, against the finals by hand."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

from lpstudy.correctness import pack_all
from lpstudy.damage import check_figures
from lpstudy.rendering.report_files import report_text, write_report
from lpstudy.rendering.shift_section import shift_section
from lpstudy.tables.arms import arm_results
from lpstudy.tables.shift import shift_rows, shift_table
from lpstudy.tables.shift_columns import shift_columns
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
    assert (last.corruption, last.severity, last.method) == ("mean", None, "bp")
    assert last.accuracy.mean == pytest.approx(
        finals_of(shifted, "bp")[NAMES].astype(float).to_numpy().mean()
    )
    assert last.differences["bp"].delta.n == 0


def test_a_final_that_lacks_one_is_left_out_of_the_mean(shifted) -> None:
    first = shifted.runs.index[shifted.runs["kind"].eq("final") & shifted.runs["method"].eq("kd")][0]
    shifted.runs.loc[first, NAMES[0]] = np.nan
    rows = [row for row in shift_rows(arm_results(shifted.study, shifted.runs)) if row.corruption == "mean"]
    kd = {row.severity: row for row in rows if row.method == "kd"}
    assert (kd[1].accuracy.n, kd[4].accuracy.n, kd[None].differences["bp"].delta.n) == (4, 5, 4)


def test_the_report_has_the_table_and_the_file(shifted, tmp_path) -> None:
    report = write_report(tmp_path, shifted.results, shifted.importances, links=lambda run: "")
    text = report.markdown.read_text()
    table = text[text.index("## Shifted data") :].split("|\n\n")[0]
    head, _, *arms = [line for line in table.splitlines() if line.startswith("|")]
    cells = [re.sub("[`\\\\]", "", cell).strip() for cell in head.strip("|").split("|")]
    assert cells == ["method", "student", "severity 1", "severity 4", "mean %", "of clean %", "Δ bp", "Δ kd"]
    assert [line.split("`")[1] for line in arms] == ["bp", "kd", "lp"]
    assert (tmp_path / "shift.csv").read_text().count("\n") == 1 + 3 * 7
    assert (tmp_path / "shift.csv") in report.files


def test_a_study_without_shift_shows_nothing_of_it(one, tmp_path) -> None:
    (tmp_path / "shift.csv").write_text("of an earlier report")
    rows = shift_rows(arm_results(one.study, one.runs))
    assert rows == []
    assert shift_section(rows) is None
    assert not [name for name in trials_table(one.runs).columns if name.startswith("shift_")]
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
    by_method = {row.method: row for row in shift_rows(results) if row.corruption == "blur"}
    designs = {result.arm.method: result.design for result in results}
    for method in ("kd", "lp"):
        same = designs[method] == designs["bp"]
        assert by_method[method].differences["bp"].delta.n == (3 if same else 0)


IMAGES = 300
RECORDED = (
    "noise_1",
    "noise_3",
    "cifar_c/fog_1",
    "cifar_c/fog_3",
    "cifar_c/snow_1",
    "cifar_c/snow_3",
    "data/photos",
)


@pytest.fixture(scope="module")
def recorded(make_frames):
    """Finals with a record of each of their shifts' images, and those records by method, seed and name."""
    one = make_frames(methods=("bp", "kd", "lp"), students=("convnet-d4-w8",))
    runs, random = one.runs.copy(), np.random.default_rng(3)
    ease = random.uniform(0, 1, IMAGES)
    records: dict[tuple[str, int, str], np.ndarray] = {}
    for index, row in runs[runs["kind"].eq("final")].iterrows():
        gain = {"bp": 0.0, "kd": 0.06, "lp": 0.01}[row["method"]]
        own = {name: random.uniform(0, 1, IMAGES) < 0.2 + 0.6 * ease + gain for name in RECORDED}
        clean = random.uniform(0, 1, IMAGES) < 0.9
        runs.loc[index, "test_correct"] = pack_all(clean, own)
        runs.loc[index, "test_accuracy"] = 100 * clean.mean()
        for name, correct in own.items():
            runs.loc[index, f"shift_{name}"] = 100 * correct.mean()
            records[row["method"], int(row["seed"]), name] = correct
    return type(one)(one.study, runs, one.curves, one.importances), records


@pytest.fixture(scope="module")
def rows(recorded):
    frames, _ = recorded
    return shift_rows(arm_results(frames.study, frames.runs), frames.study.teacher)


def rows_of(rows, **wanted):
    return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]


@pytest.mark.parametrize(
    ("family", "corruption", "severity", "names"),
    [
        ("CIFAR-C", "mean", None, RECORDED[2:6]),
        ("CIFAR-C", "mean", 3, ("cifar_c/fog_3", "cifar_c/snow_3")),
        ("CIFAR-C", "cifar_c/fog", 1, ("cifar_c/fog_1",)),
        ("data/photos", "data/photos", None, ("data/photos",)),
    ],
)
@pytest.mark.parametrize("rival", ["bp", "kd"])
def test_a_difference_covers_seeds_and_images(
    recorded, rows, family, corruption, severity, names, rival
) -> None:
    _, records = recorded
    (row,) = rows_of(rows, method="lp", family=family, corruption=corruption, severity=severity)
    n = 5
    means = {
        method: np.array([[records[method, seed, name] for name in names] for seed in range(n)], float).mean(
            1
        )
        for method in ("lp", rival)
    }
    x = means["lp"] - means[rival]
    a = x.mean(1).var(ddof=1) / n
    f = (((x.mean(0) - x.mean()) ** 2).sum() + 1) / IMAGES**2
    rest = x - x.mean(0) - x.mean(1)[:, None] + x.mean()
    e = (rest**2).sum() / ((n - 1) * (IMAGES - 1))
    half = np.sqrt(t.ppf(0.975, n - 1) ** 2 * a + norm.ppf(0.975) ** 2 * (f - min(a, e / (n * IMAGES))))
    delta = row.differences[rival].delta
    assert delta.mean == pytest.approx(100 * x.mean())
    assert delta.high - delta.mean == pytest.approx(100 * half)
    assert delta.has_records
    assert row.images == IMAGES
    accuracy = means["lp"].mean()
    alone = t.ppf(0.975, n - 1) * means["lp"].mean(1).std(ddof=1) / np.sqrt(n)
    z = norm.ppf(0.975)
    middle = (accuracy + z**2 / (2 * IMAGES)) / (1 + z**2 / IMAGES)
    reach = z * np.sqrt(accuracy * (1 - accuracy) / IMAGES + (z / (2 * IMAGES)) ** 2) / (1 + z**2 / IMAGES)
    low = accuracy - np.hypot(alone, accuracy - middle + reach)
    assert row.accuracy.low == pytest.approx(100 * low)


def test_holms_families_are_the_methods_of_one_student_over_all_of_a_family(rows) -> None:
    judged = [
        (row.family, row.method, row.corruption, row.severity)
        for row in rows_of(rows)
        if not np.isnan(row.differences["bp"].p_value)
    ]
    expected = [
        (family, method, corruption, None)
        for method in ("kd", "lp")
        for family, corruption in (("C-lite", "mean"), ("CIFAR-C", "mean"), ("data/photos", "data/photos"))
    ]
    assert judged == expected
    kd, lp = (
        rows_of(rows, method=one, family="CIFAR-C", corruption="mean", severity=None)[0]
        for one in ("kd", "lp")
    )
    small, large = sorted((kd.differences["bp"], lp.differences["bp"]), key=lambda one: one.delta.p_value)
    assert small.p_value == pytest.approx(min(1, 2 * small.delta.p_value))
    assert large.p_value == pytest.approx(max(large.delta.p_value, small.p_value))


def test_the_teacher_has_its_rows_and_the_report_a_table_for_each_family(recorded, tmp_path) -> None:
    frames, _ = recorded
    shifts = {name: 50.0 + place for place, name in enumerate(RECORDED)} | {"cifar_c/fog_3": 10.0}
    teacher = replace(frames.study.teacher, shifts=shifts)
    study = replace(frames.study, teacher=teacher)
    frames = type(frames)(study, frames.runs, frames.curves, frames.importances)
    rows = shift_rows(arm_results(study, frames.runs), teacher)
    (row,) = rows_of(rows, method="teacher", family="CIFAR-C", corruption="mean", severity=None)
    assert row.accuracy.mean == pytest.approx((52 + 10 + 54 + 55) / 4)
    assert row.relative == pytest.approx(100 * row.accuracy.mean / teacher.test_accuracy)
    write_report(tmp_path, frames.results, frames.importances, links=lambda run: "")
    text = (tmp_path / "report.md").read_text()
    section = text[text.index("## Shifted data") :].partition("\n## ")[0]
    assert [section.count(f"{head}, mean over") for head in ("C-lite", "CIFAR-C")] == [1, 1]
    assert section.count("| teacher |") == 3
    assert "| `kd` | convnet-d4-w8 | photos |" in section
    bold = rows_of(rows, method="kd", family="CIFAR-C", corruption="mean", severity=None)[0].differences["bp"]
    assert bold.is_beyond_noise
    assert f"**{bold.delta.mean:+.2f}" in section
    table = pd.read_csv(tmp_path / "shift.csv")
    assert table["family"].unique().tolist() == ["C-lite", "CIFAR-C", "data/photos"]
    assert table[table["method"].eq("teacher")]["seeds"].eq(1).all()
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert trials["test_correct"].dropna().str.fullmatch(r"\d+:[\w+/=]+").all()


def test_metrics_that_are_no_shift_are_ignored() -> None:
    names = [
        "shift_data/b",
        "shift_x",
        "shift_cifar_c/fog_2",
        "shift_jpeg_1",
        "shift_noise_1",
        "seconds",
        "shift_noise_9",
    ]
    assert shift_columns(names) == ["shift_noise_1", "shift_jpeg_1", "shift_cifar_c/fog_2", "shift_data/b"]
