"""The table of what a method adds to a training step, against quotients by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lpstudy.rendering.report_files import report_text
from lpstudy.tables.arms import arm_results
from lpstudy.tables.complexity import complexity_table

Frames = Any  # of the conftest
Make = Callable[..., Frames]
STEPS = {"bp": (0.010, 0.012, 0.011), "kd": (0.011, 0.013, 0.012), "fitnet": (0.020, 0.021, 0.025)}
PEAKS = {"bp": 1.0e9, "kd": 1.1e9, "fitnet": 1.5e9}


def timed(make_frames: Make, *, gpu: bool = False) -> Frames:
    frames = make_frames(methods=tuple(STEPS), students=("convnet-d4-w8",), seeds=3, trials=4)
    runs = frames.runs.copy()
    finals = runs["kind"].eq("final")
    for method, steps in STEPS.items():
        mine = finals & runs["method"].eq(method)
        runs.loc[mine, "step_seconds"] = list(steps)
        runs.loc[mine, "peak_bytes"] = [PEAKS[method], PEAKS[method] - 1e6, PEAKS[method] - 2e6]
        if gpu:
            runs.loc[mine, "peak_gpu_bytes"] = PEAKS[method] / 10
    return replace(frames, runs=runs)


def table(frames: Frames) -> pd.DataFrame:
    return complexity_table(arm_results(frames.study, frames.runs)).set_index("method")


def test_steps_and_memory_are_relative_to_back_prop_of_the_same_student(make_frames: Make) -> None:
    rows = table(timed(make_frames))
    for method, steps in STEPS.items():
        row = rows.loc[method]
        assert row["step_seconds_mean"] == pytest.approx(np.mean(steps))
        assert row["step_ratio"] == pytest.approx(np.mean(steps) / np.mean(STEPS["bp"]))
        half = stats.t.ppf(0.975, 2) * np.std(steps, ddof=1) / np.sqrt(3)
        assert row["step_seconds_high"] - row["step_seconds_low"] == pytest.approx(2 * half)
        assert row["peak_bytes"] == PEAKS[method]
        assert row["peak_ratio"] == pytest.approx(PEAKS[method] / PEAKS["bp"])
    assert rows.loc["fitnet", "auxiliary_parameters"] == 9248
    assert rows.loc["kd", "loss_share"] == pytest.approx(1e6 / (3 * 1_210_000))


def test_memory_is_that_of_the_gpu_where_there_is_one(make_frames: Make) -> None:
    frames = timed(make_frames, gpu=True)
    assert table(frames).loc["fitnet", "peak_gpu_bytes"] == PEAKS["fitnet"] / 10
    text = report_text(frames.results, [], links=lambda run: "")
    assert "peak GPU memory" in text
    assert "| 150\u00a0MB | 1.50 |" in text


def test_without_back_prop_there_is_no_ratio(make_frames: Make) -> None:
    frames = timed(make_frames)
    arms = tuple(arm for arm in frames.study.arms if arm.method != "bp")
    rows = table(replace(frames, study=replace(frames.study, arms=arms)))
    assert rows["step_ratio"].isna().all()
    assert rows["step_seconds_mean"].notna().all()


def test_finals_that_timed_no_step_have_no_row(make_frames: Make) -> None:
    assert table(make_frames(methods=("bp", "kd"), seeds=2, trials=3)).empty
