import csv
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lpstudy.diagnostic import Diagnostic
from lpstudy.rendering.sections import diagnostics_section
from lpstudy.tables import (
    COMPARISON_COLUMNS,
    comparison,
    spreadsheet_safe,
    trials_table,
)
from lpstudy.tables.arms import ArmResult, arm_results
from lpstudy.tables.diagnostics_table import diagnostics_table
from lpstudy.tables.text import hyperparameters_json, without_folders
from lpstudy.tables.trials import warning_counts

ISSUE = (
    "method,student,family,depth,width,accuracy_mean,accuracy_low,accuracy_high,seeds,delta_bp_mean,"
    "delta_bp_low,delta_bp_high,parameters,compression,macs,flops,speedup,auxiliary_parameters,training_macs,"
    "trials_finished,trials_pruned,trials_failed,best_hyperparameters,mlflow_run_id"
)
VERDICT = ",delta_bp_p_holm,delta_bp_detectable,published,published_source,delta_published"
COST = ",auxiliary_bytes,loss_macs,teacher_bytes,latency_ms,latency_p95_ms,latency_target"
PAIRED = (
    ",delta_bp_p_t,delta_bp_p_permutation,delta_bp_bca_low,delta_bp_bca_high,delta_bp_outperforms"
    ",delta_bp_outperforms_low,delta_bp_outperforms_high,delta_bp_p_permutation_holm,delta_bp_to_decide"
)


def result_of(frames, name: str) -> ArmResult:
    return next(one for one in arm_results(frames.study, frames.runs) if one.arm.name == name)


def finals(frames, name: str) -> pd.DataFrame:
    runs = frames.runs
    return runs[runs["arm"].eq(name) & runs["kind"].eq("final")].sort_values("seed")


def row_of(frames, name: str) -> pd.Series:
    position = [arm.name for arm in frames.study.arms].index(name)
    return comparison(frames.study, frames.runs).iloc[position + 1]


def test_columns_are_those_of_the_issue(frames):
    table = comparison(frames.study, frames.runs)
    assert ",".join(table.columns) == ISSUE + VERDICT + COST + PAIRED
    assert ",".join(COMPARISON_COLUMNS) == ISSUE + VERDICT + COST + PAIRED


def test_teacher_comes_first_then_the_arms_in_the_studys_order(frames):
    table = comparison(frames.study, frames.runs)
    assert list(table["method"]) == ["teacher", *(arm.method for arm in frames.study.arms)]
    teacher = table.iloc[0]
    assert (teacher["accuracy_mean"], teacher["compression"], teacher["speedup"]) == (93.4, 1.0, 1.0)
    assert teacher["flops"] == 2 * 110_400_000
    assert teacher["mlflow_run_id"] == "teacher0run"


def test_row_of_an_arm_agrees_with_a_computation_by_hand(frames):
    arm_finals = finals(frames, "lp-convnet-d4-w8")
    base = finals(frames, "bp-convnet-d4-w8")
    row = row_of(frames, "lp-convnet-d4-w8")
    values = arm_finals["test_accuracy"].to_numpy()
    seeds = stats.t.ppf(0.975, 4) * stats.sem(values)
    images = stats.binomtest(round(100 * values.mean()), 10_000).proportion_ci(0.95, method="wilson")
    low = values.mean() - np.hypot(seeds, values.mean() - 100 * images.low)
    high = values.mean() + np.hypot(seeds, 100 * images.high - values.mean())
    paired = values - base["test_accuracy"].to_numpy()
    t_interval = stats.ttest_rel(values, base["test_accuracy"].to_numpy()).confidence_interval(0.95)
    assert row["accuracy_mean"] == pytest.approx(values.mean())
    # To the rounding of the mean to a whole number of images.
    assert (row["accuracy_low"], row["accuracy_high"]) == (
        pytest.approx(low, abs=5e-3),
        pytest.approx(high, abs=5e-3),
    )
    assert row["delta_bp_mean"] == pytest.approx(paired.mean())
    assert (
        t_interval.low - 0.2 < row["delta_bp_low"] < t_interval.low < t_interval.high < row["delta_bp_high"]
    )
    assert row["delta_bp_detectable"] > (stats.t.ppf(0.975, 4) + stats.t.ppf(0.8, 4)) * stats.sem(paired)
    assert row["seeds"] == 5
    assert row["parameters"] == 24_616
    assert row["compression"] == pytest.approx(1_928_010 / 24_616)
    assert row["speedup"] == pytest.approx(110_400_000 / 1_210_000)
    assert row["flops"] == 2_420_000
    assert row["training_macs"] == pytest.approx(6.0e13)
    assert json.loads(row["best_hyperparameters"]) == arm_finals["hyperparameters"].iloc[0]
    assert result_of(frames, "lp-convnet-d4-w8").teacher_share == pytest.approx(4.4 / 6)


def test_trials_are_counted_by_state_and_infeasible_ones_apart(frames):
    row = row_of(frames, "kd-convnet-d4-w16")
    assert (row["trials_finished"], row["trials_pruned"], row["trials_failed"]) == (8, 2, 1)
    assert result_of(frames, "kd-convnet-d4-w16").states["infeasible"] == 1


def test_back_prop_itself_and_arms_without_it_have_no_difference(frames, make_frames):
    assert np.isnan(row_of(frames, "bp-convnet-d4-w8")["delta_bp_mean"])
    without = make_frames(methods=("kd", "lp"))
    table = comparison(without.study, without.runs)
    assert table[["delta_bp_mean", "delta_bp_low", "delta_bp_high"]].isna().all(axis=None)


def test_difference_is_to_back_prop_of_the_same_student(make_frames):
    frames = make_frames()
    runs = frames.runs
    before = row_of(frames, "kd-convnet-d4-w16")["delta_bp_mean"]
    runs.loc[runs["arm"].eq("bp-convnet-d4-w8"), "test_accuracy"] -= 10
    assert row_of(frames, "kd-convnet-d4-w16")["delta_bp_mean"] == before
    runs.loc[runs["arm"].eq("bp-convnet-d4-w16"), "test_accuracy"] -= 10
    assert row_of(frames, "kd-convnet-d4-w16")["delta_bp_mean"] == pytest.approx(before + 10)


def test_one_seed_has_no_bounds(make_frames):
    row = row_of(make_frames(seeds=1), "kd-convnet-d4-w8")
    assert np.isfinite(row["delta_bp_mean"])
    assert pd.isna(row[["accuracy_low", "accuracy_high", "delta_bp_low", "delta_bp_high"]]).all()


def test_no_finished_trial_leaves_a_row_of_zero_counts(make_frames):
    row = row_of(make_frames(trials=0), "kd-convnet-d4-w8")
    assert (row["seeds"], row["trials_finished"]) == (0, 0)
    assert pd.isna(row["accuracy_mean"])
    assert row["best_hyperparameters"] == "{}"


def test_without_finals_the_best_trial_describes_the_arm(frames):
    runs = frames.runs[frames.runs["kind"].eq("trial")]
    row = comparison(frames.study, runs).iloc[2]
    trials = runs[runs["arm"].eq("kd-convnet-d4-w8") & runs["state"].eq("finished")]
    best = trials.loc[trials["validation_accuracy"].idxmax()]
    assert json.loads(row["best_hyperparameters"]) == best["hyperparameters"]
    assert row["parameters"] == 24_616
    assert pd.isna(row["accuracy_mean"])


def test_failed_final_or_missing_accuracy_leaves_its_seed_out(make_frames):
    frames = make_frames()
    name = "kd-convnet-d4-w8"
    missing_finals = finals(frames, name).index[:2]
    frames.runs.loc[missing_finals[0], "state"] = "failed"
    frames.runs.loc[missing_finals[1], "test_accuracy"] = np.nan
    accuracies = finals(frames, name).iloc[2:]["test_accuracy"]
    row = row_of(frames, name)
    assert row["seeds"] == 3
    assert row["accuracy_mean"] == pytest.approx(accuracies.mean())


def test_later_attempt_of_a_seed_replaces_the_earlier(make_frames):
    frames = make_frames()
    name = "kd-convnet-d4-w8"
    again = finals(frames, name).head(1).assign(attempt=2, test_accuracy=50.0, run_id="again")
    runs = pd.concat([again, frames.runs], ignore_index=True)
    values = finals(frames, name)["test_accuracy"].to_numpy().copy()
    values[0] = 50.0
    row = comparison(frames.study, runs).iloc[2]
    assert row["accuracy_mean"] == pytest.approx(values.mean())
    assert row["seeds"] == 5


def test_finals_of_an_earlier_winner_do_not_count(make_frames):
    frames = make_frames()
    name = "kd-convnet-d4-w8"
    runs = frames.runs
    trials = runs[runs["arm"].eq(name) & runs["kind"].eq("trial") & runs["state"].eq("finished")]
    worst = trials.loc[trials["validation_accuracy"].idxmin(), "trial"]
    stale = finals(frames, name).assign(trial=worst, test_accuracy=99.9)
    stale["run_id"] = "stale-" + stale["run_id"]
    with_stale = pd.concat([stale, runs], ignore_index=True)
    pd.testing.assert_frame_equal(
        comparison(frames.study, with_stale), comparison(frames.study, runs), check_like=True
    )


def test_winner_of_a_size_search_brings_its_own_size(searched_frames):
    row = row_of(searched_frames, "kd-convnet")
    arm_finals = finals(searched_frames, "kd-convnet").iloc[0]
    assert row["student"] == arm_finals["student"]
    assert (row["depth"], row["width"], row["macs"]) == (
        arm_finals["depth"],
        arm_finals["width"],
        arm_finals["macs"],
    )
    assert np.isnan(row["delta_bp_mean"])  # back-prop's winner is of another size


def test_teacher_with_given_weights_and_unknown_accuracy_leaves_gaps(make_frames):
    frames = make_frames()
    teacher = replace(frames.study.teacher, test_accuracy=None, training_macs=None, seed=None)
    row = comparison(replace(frames.study, teacher=teacher), frames.runs).iloc[0]
    assert pd.isna(row[["accuracy_mean", "seeds", "training_macs"]]).all()


def test_frame_without_a_column_is_refused_by_its_name(frames):
    with pytest.raises(ValueError, match="lacks the columns seed, macs"):
        comparison(frames.study, frames.runs.drop(columns=["macs", "seed"]))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " ="])
def test_strings_that_a_spreadsheet_would_run_are_defused(start):
    cell = f'{start}HYPERLINK("http://x")'
    safe = spreadsheet_safe(pd.DataFrame({"text": [cell, "plain"], "number": [-1.5, 2.0]}))
    assert safe["text"].tolist() == [f"'{cell}", "plain"]
    assert safe["number"].tolist() == [-1.5, 2.0]


def test_trials_table_is_flat_ordered_and_survives_a_csv(make_frames):
    frames = make_frames()
    frames.runs.at[0, "student"] = "=1+1|<b>"
    frames.runs.at[0, "warnings"] = ['a "quoted", /home/someone/x.png\nwarning', "@second"]
    frames.runs.at[0, "hyperparameters"] = {"gamma": float("nan"), "k": np.int64(3), "name": "=x"}
    table = trials_table(frames.runs)
    read = list(csv.DictReader(io.StringIO(table.to_csv(index=False))))
    assert len(read) == len(frames.runs)
    first = read[[row["run_id"] for row in read].index("bp-convnet-d4-w8-t0")]
    assert first["student"] == "'=1+1|<b>"
    assert first["warnings"] == 'a "quoted", …/x.png warning; @second'
    assert json.loads(first["hyperparameters"]) == {"gamma": None, "k": 3, "name": "=x"}
    assert float(first["flops"]) == 2 * float(first["macs"])
    kinds = [row["kind"] for row in read if row["arm"] == "kd-convnet-d4-w8"]
    assert kinds == ["trial"] * 12 + ["final"] * 5


def test_warnings_are_counted_once_a_run(make_frames):
    frames = make_frames(methods=("lp",), students=("convnet-d4-w8",))
    for index in frames.runs.index[:3]:
        frames.runs.at[index, "warnings"] = ["collapse: seen", "collapse: seen"]
    counts = warning_counts(frames.runs)
    assert counts.iloc[0].tolist() == ["lp-convnet-d4-w8", "collapse: seen", 3]
    assert warning_counts(frames.runs.iloc[:0]).empty


def test_diagnostics_are_the_last_values_averaged_over_the_finals(make_frames):
    frames = make_frames()
    curves = frames.curves
    name = "lp-convnet-d4-w16"
    rows = curves["arm"].eq(name) & curves["metric"].eq("effective_rank")
    curves.loc[rows, "value"] = curves.loc[rows, "epoch"].astype(float) + curves.loc[rows, "seed"].astype(
        float
    )
    table = diagnostics_table(arm_results(frames.study, frames.runs), curves).set_index("arm")
    assert table.loc[name, "effective_rank"] == pytest.approx(20 + 2)
    assert "bp-convnet-d4-w16" not in table.index
    assert list(table.columns) == ["mean_affinity", "effective_rank"]


def test_the_columns_are_those_that_the_methods_declare(make_frames):
    frames = make_frames(methods=("bp", "kd"), students=("convnet-d4-w16",))
    arms = (
        frames.study.arms[0],
        replace(frames.study.arms[1], diagnostics=(Diagnostic("gap", "gap", "nats"),)),
    )
    study = replace(frames.study, arms=arms)
    points = [
        (f"kd-convnet-d4-w16-f{seed}", "kd-convnet-d4-w16", "final", 0, seed, 1, "gap", 2.5)
        for seed in range(5)
    ]
    results = arm_results(study, frames.runs)
    section = diagnostics_section(results, pd.DataFrame(points, columns=frames.curves.columns))
    assert [line.strip("| ").split(" | ") for line in str(section).splitlines()][::2] == [
        ["arm", "gap (nats)"],
        ["`kd` on `convnet-d4-w16`", "2.5"],
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--data-root /home/x/data", "--data-root …/data"),
        ("--data-root=/a/b/c", "--data-root=…/c"),
        ("no file '/srv/sets/x.png'", "no file '…/x.png'"),
        ("C:\\Users\\me\\x.py", "…/x.py"),
        ("sqlite:////home/x/mlflow.db", "sqlite:…/mlflow.db"),
        ("file:///home/x/y", "file:…/y"),
        ("http://host:5000/runs/1", "http://host:5000/runs/1"),
        ("MACs/FLOPs in ./studies/x or ../y, 3/5", "MACs/FLOPs in ./studies/x or ../y, 3/5"),
        ("finished / pruned", "finished / pruned"),
    ],
)
def test_absolute_paths_lose_their_folders_and_nothing_else_changes(text, expected):
    assert without_folders(text) == expected


def test_hyperparameters_are_sorted_json():
    assert (
        hyperparameters_json({"b": np.float64(0.5), "a": True, "c": "x"}) == '{"a": true, "b": 0.5, "c": "x"}'
    )
