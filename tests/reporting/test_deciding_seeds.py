"""The number of seeds that would decide a difference, against power computed by SciPy and by simulation."""

import numpy as np
import pytest
from scipy import stats

from lpstudy.rendering.cell_text import doubt
from lpstudy.tables.arms import arm_results
from lpstudy.tables.deciding_seeds import MORE_IMAGES, to_decide
from lpstudy.tables.intervals import Interval, interval
from lpstudy.tables.pairs import pairs_table
from lpstudy.tables.verdicts import verdicts


def observed(mean: float, deviation: float, n: int, test_variance: float = 0.0) -> Interval:
    return Interval(mean, np.nan, np.nan, n, deviation**2 / n, test_variance)


def more(words: str) -> int:
    return int(words.split()[0])


@pytest.mark.parametrize("tests", [1, 5, 14])
@pytest.mark.parametrize(("mean", "deviation", "n"), [(0.5, 1.0, 5), (1.0, 1.5, 3), (-0.4, 0.8, 8)])
def test_with_the_seeds_added_four_of_five_studies_decide_by_the_noncentral_t(tests, mean, deviation, n):
    total = n + more(to_decide(observed(mean, deviation, n), tests))
    bound = stats.t.isf(0.05 / tests / 2, total - 1)
    effect = abs(mean) / deviation * np.sqrt(total)
    assert stats.nct.sf(bound, total - 1, effect) == pytest.approx(0.8, abs=0.04)


def test_studies_with_the_seeds_added_find_the_difference_by_holms_correction():
    total = 5 + more(to_decide(observed(0.5, 0.6, 5), 4))
    rng, found = np.random.default_rng(0), []
    for _ in range(800):
        alone = interval(rng.normal(0.5, 0.6, total).tolist()).p_value
        found.append(4 * alone <= 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_small_differences_need_more_than_a_hundred_seeds_and_some_need_images():
    assert to_decide(observed(0.02, 1.0, 5), 1) == "more than 100 more seeds"
    assert to_decide(observed(0.0, 1.0, 5), 1) == "more than 100 more seeds"
    # 2.8 standard errors of the test set's part are 1.4 points, whatever the seeds.
    assert to_decide(observed(1.0, 1.0, 5, 0.25), 1) == MORE_IMAGES
    assert to_decide(observed(1.5, 1.0, 5, 0.25), 1).endswith("more seeds")


def test_nothing_is_said_where_no_spread_is_known():
    assert to_decide(interval([1.0]), 1) == ""
    assert to_decide(interval([0.2, 0.2]), 1) == ""


def test_what_is_within_noise_says_what_decides_it_and_nothing_else_does(frames):
    results = arm_results(frames.study, frames.runs)
    table = pairs_table(results)
    is_open = table["p_t_holm_all"] >= 0.05
    assert is_open.any()
    assert (table.loc[is_open, "to_decide"] != "").all()
    assert (table.loc[~is_open, "to_decide"] == "").all()
    for one in verdicts(results):
        if one.is_within_noise:
            assert f"{to_decide(one.delta, one.tests)} to decide" in doubt(one)
