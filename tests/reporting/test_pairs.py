"""The pairs of methods: sign-flip tests, families, columns, against SciPy and brute force."""

import itertools

import numpy as np
import pytest
from scipy import stats

from lpstudy.rendering.pairs_note import pairs_note
from lpstudy.tables import comparison
from lpstudy.tables.arms import arm_results
from lpstudy.tables.paired_tests import bca_interval, outperforming, sign_flip_p_value
from lpstudy.tables.pairs import FAMILIES, PAIR_COLUMNS, TESTS, pairs_table


def table_of(frames):
    return pairs_table(arm_results(frames.study, frames.runs))


@pytest.mark.parametrize("n", [2, 3, 5, 9])
def test_sign_flip_p_value_is_scipys_exact_permutation_test(n):
    values = np.random.default_rng(n).normal(0.4, 1.0, n).round(2)
    values[0] = 0.0  # a tie
    exact = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p_value(values.tolist()) == pytest.approx(exact.pvalue)


def test_sampled_sign_flips_agree_with_all_of_them():
    values = np.random.default_rng(1).normal(0.25, 1.0, 18)
    flips = 1 - 2 * ((np.arange(2**18)[:, None] >> np.arange(18)) & 1).astype(np.int8)
    exact = (np.abs(flips @ values) >= abs(values.sum()) - 1e-9).mean()
    assert 0.01 < exact < 0.2
    assert sign_flip_p_value(values.tolist()) == pytest.approx(exact, abs=4 * np.sqrt(exact / 1e5))
    assert sign_flip_p_value(values.tolist()) == sign_flip_p_value(values.tolist())


@pytest.mark.parametrize("n", [2, 3, 5, 16])
def test_smallest_sign_flip_p_value_is_two_of_all_flips(n):
    # Three seeds give 0.25 whatever the difference, five 0.0625: neither reaches 5 %.
    assert sign_flip_p_value([3.0] * n) == 2 / 2**n


def test_no_difference_and_no_pair_of_seeds():
    assert sign_flip_p_value([0.0, 0.0, 0.0]) == 1.0
    assert np.isnan(sign_flip_p_value([1.0]))
    # Sums that are equal but for rounding count as equal.
    assert sign_flip_p_value([0.1, 0.2, 0.3]) == sign_flip_p_value([1, 2, 3])


def test_sign_flip_test_holds_its_level_with_heavy_tails():
    values = np.random.default_rng(2).standard_t(1.5, (3000, 8))
    rejected = np.mean([sign_flip_p_value(row) <= 0.05 for row in values])
    assert rejected <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 3000)
    assert rejected > 0.03


@pytest.mark.parametrize("n", [10, 15])
def test_bootstrap_interval_is_scipys_to_its_resampling(n):
    values = np.random.default_rng(n).exponential(1.0, n)
    exact = stats.bootstrap((values,), np.mean, n_resamples=30_000, rng=7).confidence_interval
    low, high = bca_interval(values.tolist(), 0.0)
    assert (low, high) == (pytest.approx(exact.low, abs=0.05), pytest.approx(exact.high, abs=0.05))
    assert high - values.mean() > values.mean() - low  # follows the skew, as no t interval does
    assert bca_interval(values.tolist(), 0.0) == (low, high)


def test_bootstrap_interval_is_widened_by_the_test_images():
    values = np.random.default_rng(0).normal(1.0, 1.0, 12)
    (low, high), (below, above) = bca_interval(values, 0.0), bca_interval(values, 1.959964 * 0.5)
    mean, images = values.mean(), 1.959964 * 0.5
    assert below == pytest.approx(mean - np.hypot(mean - low, images))
    assert above == pytest.approx(mean + np.hypot(high - mean, images))


@pytest.mark.parametrize("values", [[0.1 * k for k in range(9)], [0.3] * 12])
def test_few_seeds_and_seeds_that_agree_have_no_bootstrap_interval(values):
    assert np.isnan(bca_interval(values, 1.0)).all()


@pytest.mark.parametrize(("draw", "least"), [("normal", 0.87), ("exponential", 0.83)])
def test_bootstrap_interval_of_ten_seeds_covers_about_nine_tenths(draw, least):
    # Less than 95 %: this is why no word follows it.
    values = getattr(np.random.default_rng(5), draw)(size=(500, 10)) - (draw == "exponential")
    bounds = np.array([bca_interval(row, 0.0) for row in values])
    assert least < ((bounds[:, 0] <= 0) & (bounds[:, 1] >= 0)).mean() < 0.94


@pytest.mark.parametrize(("wins", "n"), [(0, 3), (3, 3), (4, 5), (5, 8), (20, 24)])
def test_probability_of_outperforming_has_scipys_exact_binomial_interval(wins, n):
    result = outperforming([0.5] * wins + [-0.1] * (n - wins))
    exact = stats.binomtest(wins, n).proportion_ci(0.95, method="exact")
    assert result.mean == pytest.approx(wins / n)
    assert (result.low, result.high) == (pytest.approx(exact.low), pytest.approx(exact.high))


def test_ties_count_half_and_widen_the_interval_both_ways():
    result = outperforming([1.0, 1.0, 1.0, 0.0, 0.0, -1.0])
    assert result.mean == pytest.approx(4 / 6)
    assert result.low == pytest.approx(stats.binomtest(3, 6).proportion_ci(0.95, method="exact").low)
    assert result.high == pytest.approx(stats.binomtest(5, 6).proportion_ci(0.95, method="exact").high)
    assert outperforming([]).n == 0
    assert np.isnan(outperforming([1.0]).low)


@pytest.mark.parametrize("n", [3, 5, 8, 24])
def test_interval_of_the_probability_of_outperforming_covers_at_least_95_percent(n):
    bounds = [outperforming([1.0] * wins + [-1.0] * (n - wins)) for wins in range(n + 1)]
    for true in np.linspace(0.01, 0.99, 99):
        weights = stats.binom.pmf(np.arange(n + 1), n, true)
        covered = sum(w for w, one in zip(weights, bounds, strict=True) if one.low <= true <= one.high)
        assert covered >= 0.95


def stepwise(p_values):
    """Holm's p-values by their definition: the largest of the first steps' products."""
    return [
        min(1.0, max((len(p_values) - sum(o < q for o in p_values)) * q for q in p_values if q <= p))
        for p in p_values
    ]


def test_every_two_methods_of_a_student_are_a_row(frames):
    table = table_of(frames)
    assert tuple(table.columns) == PAIR_COLUMNS
    for student, rows in table.groupby("student"):
        methods = [arm.method for arm in frames.study.arms if arm.student == student]
        expected = {frozenset(pair) for pair in itertools.combinations(methods, 2)}
        assert {frozenset(pair) for pair in zip(rows["method"], rows["rival"], strict=True)} == expected
        assert len(rows) == len(expected)
    assert "bp" not in set(table["method"])
    assert (table.loc[table["method"].eq("kd"), "rival"] == "bp").all()
    others = table[~table["rival"].isin(["bp", "kd"])]
    assert (others["delta_mean"] >= 0).all()


def test_difference_and_both_tests_of_a_row_are_scipys(frames):
    runs = frames.runs
    accuracy = runs[runs["kind"].eq("final")].set_index(["arm", "seed"])["test_accuracy"]
    for row in table_of(frames).itertuples():
        ours, theirs = (
            accuracy[f"{method}-{row.student}"].sort_index() for method in (row.method, row.rival)
        )
        differences = (ours - theirs).to_numpy()
        assert row.delta_mean == pytest.approx(differences.mean())
        # Within the test set's part, which only widens the interval.
        assert row.p_t >= stats.ttest_rel(ours, theirs).pvalue * (1 - 1e-6)
        images = np.rint(100 * differences)  # whole numbers of 10,000 images, so that sums are exact
        exact = stats.permutation_test((images,), np.sum, permutation_type="samples")
        assert row.p_permutation == pytest.approx(exact.pvalue)


def test_families_are_the_pairs_with_bp_with_kd_with_the_best_and_all(frames):
    means = comparison(frames.study, frames.runs).set_index(["student", "method"])["accuracy_mean"]
    for student, rows in table_of(frames).groupby("student"):
        best = means[student].idxmax()
        for family, test in itertools.product(FAMILIES, TESTS):
            name = {"best": best}.get(family, family)
            inside = (rows["method"].eq(name) | rows["rival"].eq(name)) | (family == "all")
            assert inside.sum() == (10 if family == "all" else 4)
            column = f"p_{test}_holm_{family}"
            assert rows.loc[~inside, column].isna().all()
            expected = stepwise(list(rows.loc[inside, f"p_{test}"]))
            assert rows.loc[inside, column].tolist() == pytest.approx(expected)


def test_comparison_has_the_figures_of_the_pairs_with_back_prop(frames):
    pairs = table_of(frames).query("rival == 'bp'").set_index(["method", "student"])
    rows = comparison(frames.study, frames.runs).set_index(["method", "student"])
    assert rows.loc[[key for key in rows.index if key not in pairs.index], "delta_bp_p_t"].isna().all()
    for ours, theirs in (
        ("delta_bp_p_holm", "p_t_holm_bp"),
        ("delta_bp_p_t", "p_t"),
        ("delta_bp_p_permutation", "p_permutation"),
        ("delta_bp_outperforms", "outperforms"),
        ("delta_bp_outperforms_low", "outperforms_low"),
        ("delta_bp_p_permutation_holm", "p_permutation_holm_bp"),
    ):
        assert rows.loc[pairs.index, ours].tolist() == pytest.approx(pairs[theirs].tolist()), ours


def test_ten_seeds_have_bootstrap_intervals_and_five_have_none(make_frames, frames):
    assert table_of(frames)["bca_low"].isna().all()
    table = table_of(make_frames(methods=("bp", "kd", "lp"), students=("convnet-d4-w8",), seeds=10))
    assert (table["bca_low"] < table["delta_mean"]).all()
    assert (table["bca_high"] > table["delta_mean"]).all()


def test_winners_of_other_sizes_are_no_pair_and_have_no_file(searched_frames):
    results = arm_results(searched_frames.study, searched_frames.runs)
    assert pairs_table(results).empty
    assert pairs_note(results) == []
