"""Accuracy by class and top-5 accuracy in tables and report, against the records by hand."""

from dataclasses import replace

import numpy as np
import pytest

from lpstudy.correctness import unpack
from lpstudy.rendering.report_files import report_text
from lpstudy.tables import COMPARISON_COLUMNS, TeacherFacts, comparison
from lpstudy.tables.arms import arm_results
from lpstudy.tables.classes import class_table
from lpstudy.tables.facts import TEST_COLUMNS
from lpstudy.tables.intervals import accuracy_interval
from lpstudy.tables.trials import trials_table

LABELS = np.random.default_rng(0).choice(3, 10_000, p=[0.7, 0.2, 0.1])
MORE_COLUMNS = [f"{name}_{part}" for name in ("balanced", "top5") for part in ("mean", "low", "high")]
NAMES = ("cat", "a|b", "=1+1")


@pytest.fixture
def even(make_frames):
    return make_frames(methods=("bp", "kd"), seeds=3)


@pytest.fixture
def uneven(even):
    frames = even
    runs = frames.runs.copy()
    finals = runs["kind"].eq("final") & runs["state"].eq("finished")
    runs.loc[finals, "test_balanced_accuracy"] = runs.loc[finals, "test_accuracy"] - 10
    runs.loc[finals, "test_top5_accuracy"] = runs.loc[finals, "test_accuracy"] + 5
    teacher = replace(frames.study.teacher, test_balanced_accuracy=80.5)
    study = replace(frames.study, test_labels=LABELS, class_names=NAMES, teacher=teacher)
    return replace(frames, study=study, runs=runs)


def report_of(frames) -> str:
    return report_text(frames.results, (), links=lambda run: "")


def test_a_study_of_few_even_classes_shows_nothing_of_it(even) -> None:
    frames = even
    assert tuple(comparison(frames.study, frames.runs).columns) == COMPARISON_COLUMNS
    assert not {*TEST_COLUMNS} & {*trials_table(frames.runs).columns}
    assert class_table(frames.study, arm_results(frames.study, frames.runs)).empty
    text = report_of(frames)
    assert not any(word in text for word in ("balanced", "top-5", "classes.csv"))


def test_the_comparison_has_means_and_intervals(uneven) -> None:
    frames = uneven
    table = comparison(frames.study, frames.runs)
    assert tuple(table.columns) == (*COMPARISON_COLUMNS, *MORE_COLUMNS)
    assert table["balanced_mean"].iloc[0] == 80.5
    assert np.isnan(table["top5_mean"].iloc[0])
    assert table["balanced_mean"].tolist()[1:] == pytest.approx((table["accuracy_mean"] - 10).tolist()[1:])
    assert table["top5_mean"].tolist()[1:] == pytest.approx((table["accuracy_mean"] + 5).tolist()[1:])
    (first, *_) = arm_results(frames.study, frames.runs)
    values = first.finished_finals["test_balanced_accuracy"].tolist()
    worth = round(9 / (1 / np.bincount(LABELS)).sum())
    expected = accuracy_interval(values, worth)
    assert worth < 6_000
    assert (table["balanced_low"].iloc[1], table["balanced_high"].iloc[1]) == (expected.low, expected.high)


def test_each_class_has_the_mean_of_its_finals(uneven) -> None:
    frames = uneven
    results = arm_results(frames.study, frames.runs)
    table = class_table(frames.study, results)
    assert len(table) == 3 * len(results)
    records = [unpack(text) for text in results[1].finished_finals["test_correct"]]
    by_hand = [[100 * record[place == LABELS].mean() for record in records] for place in range(3)]
    rows = table[table["method"].eq(results[1].arm.method) & table["student"].eq(results[1].winner_label)]
    assert rows["accuracy_mean"].tolist() == pytest.approx(np.mean(by_hand, axis=1).tolist())
    assert rows["images"].tolist() == np.bincount(LABELS).tolist()
    low = accuracy_interval(by_hand[2], int((LABELS == 2).sum())).low
    assert rows["accuracy_low"].tolist()[2] == pytest.approx(low)


def test_the_report_shows_columns_and_the_worst_classes(uneven) -> None:
    frames = uneven
    text = report_of(frames)
    head = next(line for line in text.splitlines() if line.startswith("| method"))
    assert [cell.strip() for cell in head.split("|")[3:6]] == ["test accuracy % (n)", "balanced %", "top-5 %"]
    line = next(line for line in text.splitlines() if "[classes.csv](classes.csv)" in line)
    smallest, largest = np.bincount(LABELS).min(), np.bincount(LABELS).max()
    assert f"has {smallest:,} to {largest:,} images of a class" in line
    assert "`bp` on `convnet-d4-w8`: " in line
    assert "cat" in line


def test_one_seed_has_means_without_intervals(uneven) -> None:
    runs = uneven.runs[~uneven.runs["kind"].eq("final") | uneven.runs["seed"].eq(1)]
    frames = replace(uneven, runs=runs)
    table = comparison(frames.study, runs)
    assert table["balanced_low"].isna().all()
    cells = next(line for line in report_of(frames).splitlines() if line.startswith("| `bp` ")).split("|")
    mean = table["balanced_mean"].iloc[1]
    assert cells[4].strip() == f"{mean:.2f}"


def test_finals_without_these_figures_are_left_out(uneven) -> None:
    frames = uneven
    runs = frames.runs.assign(test_balanced_accuracy=np.nan, test_correct="")
    table = comparison(replace(frames.study, teacher=TeacherFacts("t", 90.0, 1, 1, None, None, "", "")), runs)
    assert "balanced_mean" not in table.columns
    assert class_table(frames.study, arm_results(frames.study, runs)).empty
