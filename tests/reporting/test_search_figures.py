"""Figures of the search hold what NumPy says of its trials."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from lpstudy import figures
from lpstudy.figures.timeline import lanes_of
from lpstudy.rendering.svg import svg
from lpstudy.tables.facts import NumberRange


@pytest.fixture
def deep(make_frames):
    """One student, 24 trials; every fourth is pruned."""
    return make_frames(methods=("bp", "kd"), students=("convnet-d4-w8",), trials=24)


def finished(frames, method):
    runs = frames.runs[frames.runs["arm"].eq(f"{method}-convnet-d4-w8") & frames.runs["kind"].eq("trial")]
    return runs[runs["state"].eq("finished")].sort_values("trial")


def dots(axes):
    return np.array(sorted(map(tuple, np.vstack([found.get_offsets() for found in axes.collections]))))


def test_a_slice_shows_the_trials_of_all_epochs_at_their_places_in_logs(deep):
    figure = figures.slices(deep.results)
    panels = [axes for axes in figure.axes if axes.get_title("left") == "kd"]
    assert [axes.texts[0].get_text() for axes in panels] == ["weight", "temperature", "learning_rate"]
    trials = finished(deep, "kd")
    values = np.array([row["weight"] for row in trials["searched"]])
    below = (trials["validation_accuracy"] - trials["validation_accuracy"].max()).to_numpy()
    low = panels[0].get_ylim()[0]
    expected = np.column_stack([(np.log10(values) + 4) / 4, np.maximum(below, low)])
    assert dots(panels[0]) == pytest.approx(np.array(sorted(map(tuple, expected))))


def test_contours_have_the_two_largest_shares_of_arms_that_have_two(deep):
    shares = {
        "kd-convnet-d4-w8": {"weight": 0.2, "temperature": 0.7, "learning_rate": 0.1},
        "bp": {"learning_rate": 1.0},
    }
    figure = figures.contours(deep.results, shares)
    panel = figure.axes[0]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("temperature", "weight")
    assert sum(bool(axes.get_title("left")) for axes in figure.axes) == 1
    symbols = [found for found in panel.collections if len(found.get_offsets()) == len(finished(deep, "kd"))]
    assert symbols
    assert figures.contours(deep.results, {}) is None


@pytest.mark.parametrize("value", [0.5, "mean"])
def test_contours_of_points_on_a_line_have_no_surface_and_raise_nothing(deep, value):
    for row in deep.runs["searched"]:
        if isinstance(row, dict) and "temperature" in row:
            row["temperature"] = value
    shares = {"kd-convnet-d4-w8": {"weight": 0.6, "temperature": 0.4}}
    figure = figures.contours(deep.results, shares)
    figure.canvas.draw()
    assert len(figure.axes) == 1  # no bar of colours


def test_parallel_coordinates_colour_the_best_quarter(deep):
    figure = figures.parallel_coordinates(deep.results)
    [panel] = [axes for axes in figure.axes if axes.get_title("left")]
    rest, best = (found for found in panel.collections if hasattr(found, "get_segments"))
    n = len(finished(deep, "kd"))
    assert (len(best.get_segments()), len(rest.get_segments())) == (round(n / 4), n - round(n / 4))
    ends = [segment[-1][1] for segment in best.get_segments()]
    assert min(ends) >= max(segment[-1][1] for segment in rest.get_segments())
    assert max(ends) == 1


def test_progress_is_the_running_maximum_over_the_summed_compute(deep):
    figure = figures.search_progress(deep.results)
    runs = deep.runs[deep.runs["arm"].eq("kd-convnet-d4-w8") & deep.runs["kind"].eq("trial")].sort_values(
        "trial"
    )
    runs = runs[runs["state"].ne("infeasible")]
    macs = np.cumsum((runs["training_macs"] - runs["teacher_macs"]).fillna(0).to_numpy(float))
    values = runs["validation_accuracy"].where(runs["state"].eq("finished")).fillna(-1).to_numpy(float)
    best = np.maximum.accumulate(values)
    lines = [line.get_xydata() for line in figure.axes[0].lines]
    assert any(len(line) == len(macs) and np.allclose(line, np.column_stack([macs, best])) for line in lines)


def test_lanes_never_overlap_and_are_as_many_as_runs_at_once():
    rng = np.random.default_rng(2)
    starts = np.sort(rng.uniform(0, 100, 60))
    ends = starts + rng.exponential(12, 60)
    lanes = lanes_of(starts, ends)
    for one, other in itertools.combinations(range(60), 2):
        if lanes[one] == lanes[other]:
            assert ends[one] <= starts[other]
    assert max(lanes) + 1 == max(int(((starts <= t) & (ends > t)).sum()) for t in starts)


def test_the_timeline_names_each_run_where_one_points(deep):
    runs = deep.runs.copy()
    runs.loc[runs.index[3], ["started", "ended"]] = np.nan
    runs.loc[runs.index[5], "ended"] = np.nan
    document = svg(figures.timeline(replace(deep, runs=runs).results))
    assert document.count("<title>") == len(runs) - 1
    assert "kd-convnet-d4-w8, final" in document
    assert "0.158 minutes" in document  # 9.5 s


def test_the_timeline_tells_candidates_failures_and_runs_that_go_on_apart(deep):
    runs = deep.runs.copy()
    runs.loc[runs.index[-1], "kind"] = "candidate"
    runs.loc[runs.index[0], "state"] = "running"
    figure = figures.timeline(replace(deep, runs=runs).results)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "finished trial", "pruned trial", "finished candidate", "finished final", "failed", "not ended"
    ]  # fmt: skip


@pytest.mark.parametrize("times", [(None, None), (-1.0, 5.0), (1e300, 1e300), (5.0, -1e300), (5.0, 1e300)])
def test_times_that_cannot_be_are_left_out_or_drawn_as_an_instant(deep, times):
    deep.runs["started"], deep.runs["ended"] = times
    deep.runs[["started", "ended"]] = deep.runs[["started", "ended"]].astype("float64")
    figure = figures.timeline(deep.results)
    assert (figure is None) == (times[0] != 5)
    if figure is not None:
        figure.canvas.draw()


def test_a_range_without_width_and_hostile_values_are_drawn(deep):
    arms = deep.study.arms
    for arm in arms:
        arm.numbers.update(dict.fromkeys(arm.numbers, NumberRange(1.0, 1.0)))
    deep.runs["searched"] = [
        {"weight": "<script>", "temperature": None, "learning_rate": float("inf")}
    ] * len(deep.runs)
    for name in ("slices", "parallel_coordinates"):
        figure = getattr(figures, name)(deep.results)
        assert "<script>" not in svg(figure)
