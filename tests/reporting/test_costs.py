"""The table of what a study has cost, against sums by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from lpstudy.rendering.report_files import report_text
from lpstudy.spending import PhaseSpending, Prices
from lpstudy.tables.costs import by_method, by_phase, cost_table

Frames = Any  # of the conftest
Make = Callable[..., Frames]
KINDS = {"trial": "search", "final": "finals"}


def measured(frames: Frames, **facts: object) -> Frames:
    """The study, each of whose runs has spent a second more than the one before."""
    runs = frames.runs.copy()
    has_epochs = runs["training_macs"].notna()
    seconds = pd.Series(range(len(runs)), index=runs.index, dtype="float64").where(has_epochs)
    runs["cpu_seconds"], runs["gpu_seconds"] = 2 * seconds, 0.5 * seconds
    runs["wall_seconds"], runs["peak_bytes"] = seconds, 1e9 + seconds
    return replace(frames, runs=runs, study=replace(frames.study, **facts))


SHARED = (
    PhaseSpending("teacher", macs=3.2e14, figures={"cpu_seconds": 100.0, "gpu_seconds": 50.0}),
    PhaseSpending("bank", runs=4, macs=1e12, figures={"cpu_seconds": 8.0, "gpu_seconds": 4.0}),
    PhaseSpending(
        "bank", runs=9, macs=2e12, figures={"cpu_seconds": 1e6, "gpu_seconds": 1e6}, is_earlier=True
    ),
)


def test_every_phase_of_an_arm_is_the_sum_of_its_runs(make_frames: Make) -> None:
    frames = measured(make_frames(methods=("bp", "kd"), seeds=2, trials=5), spending=SHARED)
    table = cost_table(frames.study, frames.runs).set_index(["arm", "phase"])
    ended = frames.runs[frames.runs["training_macs"].notna()]
    for (arm, kind), part in ended.groupby(["arm", "kind"]):
        row = table.loc[(arm, KINDS[str(kind)])]
        assert row["runs"] == len(part)
        assert row["cpu_seconds"] == sum(part["cpu_seconds"])
        assert row["gpu_seconds"] == sum(part["gpu_seconds"])
        assert row["peak_bytes"] == max(part["peak_bytes"])
        assert row["macs"] == sum(part["training_macs"]) - sum(part["teacher_macs"])  # the bank has the rest
    assert len(table) == 3 + 2 * 2 * 2


def test_without_a_bank_the_runs_have_the_teachers_outputs(make_frames: Make) -> None:
    frames = measured(make_frames(methods=("kd",), seeds=2, trials=1))
    finals = frames.runs[frames.runs["kind"].eq("final") & frames.runs["arm"].eq("kd-convnet-d4-w8")]
    table = cost_table(frames.study, frames.runs).set_index(["arm", "phase"])
    assert table.loc[("kd-convnet-d4-w8", "finals"), "macs"] == sum(finals["training_macs"])


def test_all_together_leaves_out_what_was_spent_earlier(make_frames: Make) -> None:
    frames = measured(make_frames(methods=("bp", "kd"), seeds=2, trials=5), spending=SHARED)
    phases = by_phase(cost_table(frames.study, frames.runs))
    assert list(phases["phase"]) == [
        "teacher", "teacher's outputs", "teacher's outputs", "search", "finals", "together"
    ]  # fmt: skip
    assert list(phases["spent_earlier"]) == [False, False, True, False, False, False]
    last = phases.iloc[-1]
    assert last["runs"] == 1 + frames.runs["training_macs"].notna().sum()  # the teacher, and no blocks
    assert last["cpu_seconds"] == pytest.approx(108 + frames.runs["cpu_seconds"].sum())
    assert pd.isna(last["wall_seconds"])  # the teacher's is not known


def test_a_method_has_all_its_phases_in_one_row(make_frames: Make) -> None:
    frames = measured(make_frames(methods=("bp", "kd"), seeds=2, trials=5), spending=SHARED)
    table = cost_table(frames.study, frames.runs)
    rows = by_method(table).set_index(["method", "student"])
    assert len(rows) == len(frames.study.arms)
    for key, row in rows.iterrows():
        own = table[table["method"].eq(key[0]) & table["student"].eq(key[1])]
        assert row["runs"] == own["runs"].sum()
        assert row["cpu_seconds"] == pytest.approx(own["cpu_seconds"].sum())
        assert row["peak_bytes"] == own["peak_bytes"].max()


def test_money_is_the_price_of_the_hours(make_frames: Make) -> None:
    prices = Prices(cpu_hour=0.036, gpu_hour=3.6, currency="EUR")
    frames = measured(make_frames(methods=("bp",), seeds=2, trials=3), spending=SHARED, prices=prices)
    table = cost_table(frames.study, frames.runs)
    expected = table["cpu_seconds"] * 1e-5 + table["gpu_seconds"] * 1e-3
    assert table["money"].to_list() == pytest.approx(expected.to_list())
    text = report_text(frames.results, [], links=lambda run: "")
    assert f"{expected[~table['spent_earlier']].sum():.2f}\u00a0EUR" in text


def test_one_price_alone_counts_the_other_as_nothing() -> None:
    assert Prices(cpu_hour=36.0).money({"cpu_seconds": 100.0}) == 1.0
    assert Prices(cpu_hour=36.0).money({"gpu_seconds": 100.0}) is None
    assert Prices().money({"cpu_seconds": 100.0}) is None


def test_an_estimate_stands_beside_what_was_measured(make_frames: Make) -> None:
    figures = {"cpu_seconds": 600.0, "gpu_seconds": 300.0, "wall_seconds": 300.0}
    estimate = (
        PhaseSpending("trial", "bp-convnet-d4-w8", 12, 5e12, figures),
        PhaseSpending("final", "lp-convnet-d4-w8", 5, 5e12, figures),  # an arm that has not run yet
    )
    frames = measured(make_frames(methods=("bp",), seeds=2, trials=3), estimate=estimate)
    table = cost_table(frames.study, frames.runs).set_index(["arm", "phase"])
    assert table.loc[("bp-convnet-d4-w8", "search"), "planned_cpu_seconds"] == 600
    assert pd.isna(table.loc[("bp-convnet-d4-w8", "finals"), "planned_cpu_seconds"])
    assert table.loc[("lp-convnet-d4-w8", "finals"), "runs"] == 0
    assert by_phase(table.reset_index()).iloc[-1]["planned_cpu_seconds"] == 1200
    assert "Planned is the estimate" in report_text(frames.results, [], links=lambda run: "")


def test_a_study_that_measured_nothing_has_no_costs(make_frames: Make) -> None:
    frames = make_frames(methods=("bp", "kd"), seeds=2, trials=5)
    assert cost_table(frames.study, frames.runs).empty
    assert "What it cost" not in report_text(frames.results, [], links=lambda run: "")


def test_a_kind_of_runs_that_the_phases_do_not_name_is_shown_by_its_name(make_frames: Make) -> None:
    frames = measured(make_frames(methods=("bp",), seeds=2, trials=3))
    runs = frames.runs.assign(kind=frames.runs["kind"].replace("final", "rehearsal"))
    assert {*cost_table(frames.study, runs)["phase"]} == {"search", "rehearsal"}
