import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lpstudy.tables import interval, paired_difference, pareto_front


def test_interval_is_scipys_t_interval_of_a_mean():
    values = [88.1, 88.9, 87.4, 90.2, 88.8]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    found = interval(values)
    assert (found.mean, found.low, found.high, found.n) == (
        pytest.approx(np.mean(values)),
        pytest.approx(low),
        pytest.approx(high),
        5,
    )


def test_one_value_has_a_mean_and_no_interval():
    found = interval([91.0])
    assert (found.mean, found.n) == (91.0, 1)
    assert np.isnan([found.low, found.high]).all()
    assert not found.excludes_zero


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, np.nan]])
def test_no_finite_value_gives_no_mean(values):
    found = interval(values)
    assert np.isnan(found.mean)
    assert found.n == 0


def test_missing_values_are_left_out_of_an_interval():
    assert interval([1.0, np.nan, 3.0]) == interval([1.0, 3.0])


def test_paired_difference_is_scipys_paired_t_test_over_the_shared_seeds():
    ours = {0: 90.1, 1: 91.0, 2: 89.5, 7: 12.0}
    theirs = {2: 89.9, 1: 90.2, 0: 89.6, 9: 99.0}
    test = stats.ttest_rel([90.1, 91.0, 89.5], [89.6, 90.2, 89.9]).confidence_interval(0.95)
    found = paired_difference(ours, theirs)
    assert (found.low, found.high, found.n) == (pytest.approx(test.low), pytest.approx(test.high), 3)


def test_no_shared_seed_gives_no_difference():
    assert paired_difference({0: 1.0}, {1: 1.0}).n == 0


def test_pareto_front_is_the_brute_force_one():
    rng = np.random.default_rng(3)
    for _ in range(50):
        frame = pd.DataFrame(
            {"validation_accuracy": rng.integers(80, 90, 30) * 1.0, "macs": rng.integers(1, 15, 30)}
        )
        frame.loc[rng.integers(0, 30, 3), "validation_accuracy"] = np.nan
        points = list(zip(frame["validation_accuracy"], frame["macs"], strict=True))
        expected = {
            index
            for index, (high, low) in enumerate(points)
            if np.isfinite(high)
            and not any((a >= high and c <= low and (a > high or c < low)) for a, c in points)
        }
        front = pareto_front(frame)
        assert set(front.index) == expected
        assert front["macs"].is_monotonic_increasing


def test_pareto_front_reads_nullable_columns(searched_frames):
    runs = searched_frames.runs
    trials = runs[runs["arm"].eq("kd-convnet") & runs["kind"].eq("trial")]
    front = pareto_front(trials)
    assert 0 < len(front) < len(trials)
    assert front["validation_accuracy"].is_monotonic_increasing
