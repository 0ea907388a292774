"""Calibration and closeness to the teacher in tables and report, against the finals by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from lpstudy.damage import check_figures
from lpstudy.rendering.beyond_accuracy import beyond_accuracy_section
from lpstudy.rendering.report_files import report_text
from lpstudy.tables import comparison
from lpstudy.tables.facts import BEYOND_ACCURACY
from lpstudy.tables.trials import trials_table

VALUES = {"ece": 3.25, "nll": 0.412, "brier": 0.151, "agreement": 93.5, "teacher_kl": 0.0875}
HIGHEST = {"ece": 100, "brier": 2, "agreement": 100}


@pytest.fixture
def measured(one):
    """Finals that have the figures, with a spread over seeds."""
    runs = one.runs.copy()
    finals = runs["kind"].eq("final")
    spread = 1 + 0.1 * np.random.default_rng(0).normal(size=(len(BEYOND_ACCURACY), finals.sum()))
    for name, factors in zip(BEYOND_ACCURACY, spread, strict=True):
        runs[f"test_{name}"] = np.nan
        runs.loc[finals, f"test_{name}"] = np.minimum(VALUES[name] * factors, 100)
    teacher = replace(one.study.teacher, test_ece=1.5, test_nll=0.25, test_brier=0.0931)
    return replace(one, runs=runs, study=replace(one.study, teacher=teacher))


def test_the_comparison_has_means_and_t_intervals_over_seeds(measured) -> None:
    table = comparison(measured.study, measured.runs)
    assert table["nll_mean"].iloc[0] == 0.25
    assert np.isnan(table["agreement_mean"].iloc[0])
    finals = measured.runs[measured.runs["kind"].eq("final")]
    cut = False
    for _, row in table.iloc[1:].iterrows():
        of_arm = finals[finals["method"].eq(row["method"])]
        assert len(of_arm) == 5
        for name in BEYOND_ACCURACY:
            values = of_arm[f"test_{name}"]
            half = t.ppf(0.975, 4) * values.std(ddof=1) / np.sqrt(5)
            assert row[f"{name}_mean"] == pytest.approx(values.mean())
            low, high = np.clip((values.mean() - half, values.mean() + half), 0, HIGHEST.get(name))
            assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx((low, high))
            cut = cut or low == 0 or high == HIGHEST.get(name)
    assert cut


def test_the_report_has_one_small_table(measured) -> None:
    lines = report_text(measured.results, (), links=lambda run: "").splitlines()
    start = lines.index("## Beyond accuracy")
    head, _, teacher, *arms = [line for line in lines[start:] if line.startswith("|")][: 3 + 3]
    cells = [cell.strip() for cell in head.strip("|").split("|")]
    assert cells == ["method", "student", "ECE %", "NLL", "Brier", "agreement %", "KL"]
    assert [cell.strip() for cell in teacher.strip("|").split("|")][2:] == [
        "1.50", "0.2500", "0.0931", "–", "–"
    ]  # fmt: skip
    row = comparison(measured.study, measured.runs).iloc[1]
    half = row["teacher_kl_high"] - row["teacher_kl_mean"]
    assert (
        arms[0]
        .rstrip("| ")
        .endswith(f"{row['teacher_kl_mean']:.4f}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{half:.4f}")
    )
    assert [line.split("`")[1] for line in arms] == ["bp", "kd", "lp"]


def test_a_study_without_these_figures_shows_nothing_of_them(one) -> None:
    table = comparison(one.study, one.runs)
    assert not [column for column in table.columns if column.startswith(BEYOND_ACCURACY)]
    assert not [column for column in trials_table(one.runs).columns if "ece" in column]
    assert beyond_accuracy_section(table) is None
    assert "Beyond accuracy" not in report_text(one.results, (), links=lambda run: "")


def test_a_study_without_the_teacher_s_logits_shows_the_others(measured) -> None:
    runs = measured.runs.assign(test_agreement=np.nan, test_teacher_kl=np.nan)
    section = beyond_accuracy_section(comparison(measured.study, runs))
    assert section is not None
    assert "Brier" in section
    assert "agreement" not in section
    assert "KL" not in section


def test_one_seed_has_no_interval(measured) -> None:
    runs = measured.runs
    runs = pd.DataFrame(runs[runs["kind"].eq("trial") | runs["seed"].eq(0)])
    section = beyond_accuracy_section(comparison(measured.study, runs))
    assert section is not None
    assert "±" not in section


@pytest.mark.parametrize(
    ("name", "value"),
    [("ece", 100.5), ("ece", -1), ("nll", -0.1), ("brier", 2.1), ("agreement", 101), ("teacher_kl", -1e-9)],
)
def test_impossible_figures_are_refused(name: str, value: float) -> None:
    check_figures({f"test_{name}": VALUES[name]})
    with pytest.raises(ValueError, match=f"test_{name}: must be from 0"):
        check_figures({f"test_{name}": value})
