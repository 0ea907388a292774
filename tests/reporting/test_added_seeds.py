"""Seeds that are added at planned looks: the p-values, the rule, and its error rates in simulated studies.

Fixed seeds. LPSTUDY_SIMULATED_STUDIES=2000 simulates so many studies instead, and with -s shows the rates.
"""

import os
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats
from simulated_studies import study

from lpstudy.command.seed_looks import look_at
from lpstudy.seed_range import SeedRange, looks_of, spending
from lpstudy.tables.arms import ArmResult
from lpstudy.tables.intervals import holm
from lpstudy.tables.looks import corrected, t_test
from lpstudy.tables.open_comparisons import may_decide, open_comparisons
from lpstudy.tables.pairs import pairs_table
from lpstudy.tables.scores import Scores
from lpstudy.tables.verdicts import is_best, verdicts

LOOKS = looks_of(SeedRange(low=3, high=8))
STUDIES = int(os.environ.get("LPSTUDY_SIMULATED_STUDIES", "0"))


def scores_of(table: np.ndarray) -> list[Scores]:
    """The scores of each row of accuracies, on seeds 1, 2, ..."""
    return [Scores(dict(enumerate(row, 1))) for row in table]


def simulated(rng: np.random.Generator, methods: int, seeds: int, gain: float = 0.0) -> list[Scores]:
    """Back-prop and methods of which the first has a gain; a difference spreads by one point."""
    noise = rng.normal(size=(methods + 1, seeds)) / np.sqrt(2)
    gains = gain * (np.arange(methods + 1) == 1)[:, None]
    return scores_of(90 + rng.normal(size=seeds) + gains + noise)


def grown(scores: list[Scores], looks: Sequence[int], shown: Sequence[int]) -> list[ArmResult]:
    """The results at the end of a study that adds seeds; `shown` are the looks that its p-values know."""
    seeds = looks[0]
    while True:
        results = study([one.first(seeds) for one in scores], tuple(shown))
        decision = look_at(results, {"arm": seeds}, looks)
        if not decision.is_open:
            return results
        seeds = decision.seeds


def has_claim(results: list[ArmResult]) -> bool:
    """Whether a report claims any difference."""
    best = max(results, key=lambda one: one.accuracy.mean)
    return any(one.is_beyond_noise for one in verdicts(results)) or is_best(best, results)


@pytest.mark.parametrize(
    ("low", "high", "looks"), [(4, 24, (4, 6, 9, 14, 24)), (3, 8, (3, 5, 8)), (2, 3, (2, 3)), (5, 6, (5, 6))]
)
def test_looks_grow_by_half_from_the_lowest_number_to_the_highest(low, high, looks):
    assert looks_of(SeedRange(low=low, high=high)) == looks


def test_the_looks_share_the_error_by_their_new_seeds():
    assert spending((4, 6, 9, 14, 24)) == pytest.approx([4 / 24, 2 / 24, 3 / 24, 5 / 24, 10 / 24])
    assert sum(spending(LOOKS)) == pytest.approx(1)


def test_a_p_value_is_the_smallest_of_the_looks_over_their_shares():
    scores = simulated(np.random.default_rng(0), 3, 8, gain=1.5)
    pairs = [(one, scores[0]) for one in scores[1:]]
    table = np.array(
        [[one.accuracy[seed] - scores[0].accuracy[seed] for seed in range(1, 9)] for one in scores[1:]]
    )
    by_look = []
    for seeds, share in zip(LOOKS, (3 / 8, 2 / 8, 3 / 8), strict=True):
        p_values = holm([stats.ttest_1samp(row[:seeds], 0).pvalue for row in table])
        agrees = np.sign(table[:, :seeds].mean(axis=1)) == np.sign(table.mean(axis=1))
        by_look.append(np.where(agrees, np.minimum(1, np.array(p_values) / share), 1.0))
    assert corrected(pairs, t_test, LOOKS) == pytest.approx(np.min(by_look, axis=0), rel=1e-6)
    assert corrected(pairs, t_test, ()) == pytest.approx(
        holm([stats.ttest_1samp(row, 0).pvalue for row in table]), rel=1e-6
    )


def test_a_claim_whose_sign_the_later_seeds_turn_is_given_up():
    differences = [5.0, 5.01, 5.02, -20.0, -21.0, -19.0, -20.0, -22.0]
    one, base = scores_of(np.array([90 + np.array(differences), np.full(8, 90.0)]))
    assert 2 * t_test(one.first(3), base.first(3)) * 8 / 3 < 0.05  # the first look would claim it
    assert corrected([(one, base)], t_test, LOOKS)[0] > 0.05


def test_a_look_counts_once_all_methods_have_its_seeds():
    base, first, second = simulated(np.random.default_rng(1), 2, 8, gain=9.0)
    pairs = [(first, base), (second.first(4), base)]
    assert corrected(pairs, t_test, LOOKS)[0] == pytest.approx(
        min(1, 2 * t_test(first.first(3), base.first(3)) * 8 / 3)
    )


def test_tables_of_all_pairs_have_the_same_p_values_as_the_verdicts():
    results = study(simulated(np.random.default_rng(2), 3, 8, gain=1.5), LOOKS)
    table = pairs_table(results).set_index(["method", "rival"])
    for verdict in verdicts(results)[1:]:
        assert table.loc[(verdict.result.arm.method, "bp"), "p_t_holm_bp"] == pytest.approx(verdict.p_value)


def test_no_seed_is_added_where_every_comparison_is_decided():
    rng = np.random.default_rng(3)
    results = study(scores_of(np.array([90, 95])[:, None] + 0.01 * rng.normal(size=(2, 3))), LOOKS)
    assert open_comparisons(results) == []
    decision = look_at(results, {"bp-net": 3, "m1-net": 3}, LOOKS)
    assert (decision.seeds, decision.is_open) == (3, False)
    assert "every comparison is decided" in decision.why


def test_no_seed_is_added_that_could_not_decide_anything():
    rng = np.random.default_rng(4)
    results = study(scores_of(90 + 0.02 * rng.normal(size=(1, 14)) + rng.normal(size=(2, 14)) / 10), (14, 15))
    (undecided,) = open_comparisons(results)
    assert not may_decide(undecided, (14, 15))
    assert may_decide(undecided, (14, 100))
    assert "could not decide" in look_at(results, {"bp-net": 14, "m1-net": 14}, (14, 15)).why


def test_all_arms_of_a_student_get_the_seeds_of_the_next_look():
    results = study(simulated(np.random.default_rng(5), 1, 3), LOOKS)
    decision = look_at(results, {"bp-net": 3, "m1-net": 3}, LOOKS)
    assert (decision.seeds, decision.is_open) == (5, True)
    late = look_at(results, {"bp-net": 5, "m1-net": 3}, LOOKS)
    assert (late.seeds, late.is_open) == (5, True)
    last = look_at(results, {"bp-net": 8, "m1-net": 8}, LOOKS)
    assert (last.seeds, last.is_open) == (8, False)


@pytest.mark.parametrize(("methods", "studies"), [(4, 40), (14, 12)])
@pytest.mark.parametrize("seeds", [(3, 8)] + [(4, 24)] * bool(STUDIES))
def test_where_no_method_differs_added_seeds_claim_a_difference_in_at_most_one_report_in_twenty(
    methods, studies, seeds
):
    rng, studies = np.random.default_rng([methods, *seeds]), STUDIES or studies
    looks = looks_of(SeedRange(low=seeds[0], high=seeds[1]))
    claims = 0
    for _ in range(studies):
        claims += has_claim(grown(simulated(rng, methods, seeds[1]), looks, looks))
    print(f"\n{methods} methods, {seeds[0]} to {seeds[1]} seeds: {claims / studies:.2%} of {studies} studies")
    assert claims / studies <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)


def test_the_looks_keep_the_error_where_a_study_ends_at_its_first_claim():
    # The correction's reason: whoever tests at 5 % at each look claims far more often.
    rng, studies = np.random.default_rng(6), STUDIES or 200
    looks = looks_of(SeedRange(low=4, high=24))
    claims = naive = 0
    for _ in range(studies):
        base, other = simulated(rng, 1, 24)
        claims += corrected([(other, base)], t_test, looks)[0] < 0.05
        naive += min(t_test(other.first(seeds), base.first(seeds)) for seeds in looks) < 0.05
    print(f"\none method: {claims / studies:.2%}; at 5 % at each look {naive / studies:.2%}")
    assert claims / studies <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)
    assert naive / studies > 0.09


def test_true_effects_are_called_no_less_often_than_the_last_look_alone_finds_them():
    rng, studies, effect = np.random.default_rng(7), STUDIES or 60, 1.5
    found = [verdicts(grown(simulated(rng, 2, 8, effect), LOOKS, LOOKS))[1].is_better for _ in range(studies)]

    def power(level: float) -> float:
        return float(stats.nct.sf(stats.t.isf(level / 2, 7), 7, effect * np.sqrt(8)))

    noise = 2.5 * np.sqrt(0.25 / studies)
    print(f"\nfound {np.mean(found):.2%}, of {power(0.05 * 3 / 8 / 2):.2%} to {power(0.05):.2%}")
    assert power(0.05 * 3 / 8 / 2) - noise <= np.mean(found) <= power(0.05) + noise


def test_intervals_of_studies_with_added_seeds_cover_the_true_difference():
    rng, studies = np.random.default_rng(8), STUDIES or 60
    covered = []
    for _ in range(studies):
        deltas = [one.delta for one in verdicts(grown(simulated(rng, 2, 8), LOOKS, LOOKS))[1:]]
        covered += [one.low <= 0 <= one.high for one in deltas]
    print(f"\ncovered {np.mean(covered):.2%}")
    assert np.mean(covered) >= 0.90 if not STUDIES else np.mean(covered) >= 0.935
