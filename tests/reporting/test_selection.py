"""What the highest mean owes to chance, and the spread between repeated searches."""

import numpy as np
import pytest
from simulated_studies import arm_result, study

from lpstudy.tables.intervals import interval
from lpstudy.tables.scores import Scores
from lpstudy.tables.search_spread import NO_SPREAD, SearchSpread, mean_scores, pooled_spread
from lpstudy.tables.selection import unselected_accuracy
from lpstudy.tables.verdicts import verdicts


def scores_of(table: np.ndarray) -> list[Scores]:
    """The scores of each row of accuracies, on seeds 1, 2, ..."""
    return [Scores(dict(enumerate(row, 1))) for row in table]


def test_each_seed_judges_the_method_that_the_other_seeds_pick():
    # Seeds 2 and 3 pick the first method, seeds 1 and 3 and seeds 1 and 2 the second one.
    results = study(scores_of(np.array([[80.0, 91.0, 92.0], [95.0, 90.0, 91.0]])))
    assert unselected_accuracy(results) == pytest.approx((80 + 90 + 91) / 3)


def test_one_method_and_two_seeds_are_not_corrected():
    assert np.isnan(unselected_accuracy(study(scores_of(np.full((1, 5), 90.0)))))
    assert np.isnan(unselected_accuracy(study(scores_of(np.full((3, 2), 90.0)))))


@pytest.mark.parametrize(("methods", "seeds"), [(4, 3), (14, 8)])
def test_the_highest_mean_is_too_high_and_its_correction_is_not(methods, seeds):
    rng, highest, unselected = np.random.default_rng([methods, seeds]), [], []
    for _ in range(250):
        results = study(scores_of(90 + rng.normal(size=seeds) + rng.normal(size=(methods, seeds))))
        highest.append(max(one.accuracy.mean for one in results) - 90)
        unselected.append(unselected_accuracy(results) - 90)
    error = np.sqrt(2 / seeds)  # of one mean
    assert np.mean(highest) > 0.5 * error
    assert abs(np.mean(unselected)) < 0.2 * error


def test_the_spread_is_pooled_over_methods_from_the_means_of_their_searches():
    one = scores_of(np.array([[90.0, 92.0], [91.0, 95.0]]))  # means 91 and 93
    two = scores_of(np.array([[80.0, 80.0], [80.0, 80.0], [83.0, 83.0]]))  # 80, 80, 83
    spread = pooled_spread([one, two])
    assert spread == SearchSpread(pytest.approx((2 + 6) / 3), 3)
    assert pooled_spread([one[:1], two[:1]]) == NO_SPREAD


def test_scores_of_several_searches_are_their_mean_seed_by_seed():
    rng = np.random.default_rng(0)
    correct = rng.random((2, 2, 50)) < 0.8
    searches = [
        Scores({s: 100 * row.mean() for s, row in enumerate(of, 1)}, 50, dict(enumerate(of, 1)))
        for of in correct
    ]
    scores = mean_scores(searches, SearchSpread(0.5, 3))
    assert scores.accuracy == pytest.approx({s: 100 * correct[:, s - 1].mean() for s in (1, 2)})
    np.testing.assert_allclose(scores.correct[1], correct[:, 0].mean(axis=0))
    assert (scores.search_variance, scores.search_degrees) == (0.25, 3)


def test_the_spread_of_searches_widens_a_difference_by_its_own_t_quantile():
    differences = {1: 90.0, 2: 92.0, 3: 91.0}
    base = Scores(dict.fromkeys(differences, 90.0))
    delta = Scores(differences, 0, {}, 0.5, 4).less(base)
    alone = interval([0.0, 2.0, 1.0])
    assert delta.half_width == pytest.approx(np.hypot(alone.half_width, 2.776445 * np.sqrt(0.5)), rel=1e-5)
    assert delta.p_value > alone.p_value
    assert delta.detectable > alone.detectable


def test_repeated_searches_of_equal_methods_claim_no_more_than_one_difference_in_twenty():
    # One search of each gives claims far more often: the winners of two searches differ, the methods do not.
    rng, studies, claims, single = np.random.default_rng(1), 80, 0, 0
    for _ in range(studies):
        shape = (5, 2, 8)  # methods, searches, seeds
        skill = 90 + 1.0 * rng.normal(size=(5, 2, 1)) + 0.5 * rng.normal(size=(1, 1, 8))
        table = skill + 0.5 * rng.normal(size=shape)
        searches = [scores_of(of) for of in table]
        spread = pooled_spread(searches)
        merged = [mean_scores(one, spread) for one in searches]
        claims += any(one.is_beyond_noise for one in verdicts(study(merged)))
        single += any(one.is_beyond_noise for one in verdicts(study([one[0] for one in searches])))
    assert claims / studies <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)
    assert single / studies > 0.4
    assert arm_result("bp", merged[0]).accuracy.searches.degrees == 5
