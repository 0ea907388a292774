import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lpstudy.tables import interval, pareto_front
from lpstudy.tables.intervals import Interval, accuracy_interval, holm
from lpstudy.tables.scores import Scores


def test_interval_is_scipys_t_interval_of_a_mean():
    values = [88.1, 88.9, 87.4, 90.2, 88.8]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    result = interval(values)
    assert (result.mean, result.low, result.high, result.n) == (
        pytest.approx(np.mean(values)),
        pytest.approx(low),
        pytest.approx(high),
        5,
    )


def test_one_value_has_a_mean_and_no_interval():
    result = interval([91.0])
    assert (result.mean, result.n) == (91.0, 1)
    assert np.isnan([result.low, result.high]).all()
    assert not result.excludes_zero


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, np.nan]])
def test_no_finite_value_gives_no_mean(values):
    result = interval(values)
    assert np.isnan(result.mean)
    assert result.n == 0


def test_missing_values_are_left_out_of_an_interval():
    assert interval([1.0, np.nan, 3.0]) == interval([1.0, 3.0])


def test_paired_difference_is_scipys_paired_t_test_over_the_shared_seeds():
    ours = {0: 90.1, 1: 91.0, 2: 89.5, 7: 12.0}
    theirs = {2: 89.9, 1: 90.2, 0: 89.6, 9: 99.0}
    test = stats.ttest_rel([90.1, 91.0, 89.5], [89.6, 90.2, 89.9]).confidence_interval(0.95)
    result = Scores(ours).less(Scores(theirs))
    assert (result.low, result.high, result.n) == (pytest.approx(test.low), pytest.approx(test.high), 3)


def test_no_shared_seed_gives_no_difference():
    assert Scores({0: 1.0}).less(Scores({1: 1.0})).n == 0


def bits(*rows: str) -> dict[int, np.ndarray]:
    """The correctly classified images of each seed."""
    return {seed: np.array([letter == "1" for letter in row]) for seed, row in enumerate(rows)}


def scores(correct: dict[int, np.ndarray]) -> Scores:
    images = len(correct[0])
    return Scores({seed: 100 * row.mean() for seed, row in correct.items()}, images, correct)


def random_scores(seed: int, *, seeds: int = 5, images: int = 400) -> Scores:
    rng = np.random.default_rng(seed)
    hard = rng.random(images) < 0.2
    return scores(
        {one: np.where(hard, rng.random(images) < 0.5, rng.random(images) < 0.97) for one in range(seeds)}
    )


def anova(ours: Scores, theirs: Scores) -> tuple[float, float]:
    """Seed part and test set's part in squared points, from the sums of squares of a two-way layout."""
    x = 100 * np.array([ours.correct[s].astype(float) - theirs.correct[s] for s in ours.correct])
    n, images = x.shape
    of_seeds = images * ((x.mean(1) - x.mean()) ** 2).sum()
    of_images = n * ((x.mean(0) - x.mean()) ** 2).sum()
    residuals = ((x - x.mean()) ** 2).sum() - of_seeds - of_images
    seed_part = of_seeds / (n - 1) / (n * images)
    both = min(residuals / ((n - 1) * (images - 1)) / (n * images), seed_part)
    return seed_part, max(0.0, (of_images / n + 100**2) / images**2 - both)


@pytest.mark.parametrize("seed", range(4))
def test_difference_has_the_variance_of_a_layout_of_seeds_and_images(seed):
    ours, theirs = random_scores(seed), random_scores(seed + 100)
    result = ours.less(theirs)
    seed_part, test_part = anova(ours, theirs)
    assert (result.seed_variance, result.test_variance) == (
        pytest.approx(seed_part),
        pytest.approx(test_part),
    )
    half = np.sqrt(stats.t.ppf(0.975, 4) ** 2 * seed_part + stats.norm.ppf(0.975) ** 2 * test_part)
    assert (result.mean - result.low, result.high - result.mean) == (pytest.approx(half), pytest.approx(half))


def test_two_equal_differences_of_one_image_are_no_certainty():
    # The issue's case: 1 of 500 images, with both seeds.
    base = "1" * 450 + "0" * 50
    worse = "0" + base[1:]
    result = scores(bits(worse, worse)).less(scores(bits(base, base)))
    assert result.mean == pytest.approx(-0.2)
    # McNemar: one discordant image and the one that is added, of 500.
    assert result.half_width == pytest.approx(1.96 * 100 * np.sqrt(1 - 1 / 500 + 1) / 500, rel=1e-3)
    assert result.is_tied
    assert result.p_value == 1.0


def test_discordant_images_widen_a_difference_that_the_seeds_agree_on():
    # 40 images each way with every seed: the seeds differ by nothing, the images by much.
    one, other = "1" * 40 + "0" * 40 + "1" * 420, "0" * 40 + "1" * 42 + "1" * 418
    same = scores(bits(one, one, one)).less(scores(bits(other, other, other)))
    assert same.seed_variance == 0
    assert same.half_width == pytest.approx(1.96 * 100 * np.sqrt(80 + 1) / 500, rel=0.01)


def test_more_seeds_do_not_shrink_what_the_test_set_leaves_open():
    one, other = "1" * 40 + "0" * 40 + "1" * 420, "0" * 40 + "1" * 460
    halves = [scores(bits(*[one] * n)).less(scores(bits(*[other] * n))).half_width for n in (2, 20)]
    assert halves[0] == pytest.approx(halves[1])


@pytest.mark.parametrize("seed", range(4))
def test_interval_is_never_narrower_than_the_seeds_or_the_images_alone(seed):
    ours, theirs = random_scores(seed, seeds=3), random_scores(seed + 50, seeds=3)
    result, plain = ours.less(theirs), Scores(ours.accuracy).less(Scores(theirs.accuracy))
    x = np.array([ours.correct[s].astype(float) - theirs.correct[s] for s in range(3)]).mean(0)
    assert result.half_width >= plain.half_width - 1e-12
    assert result.half_width >= 1.96 * 100 * np.sqrt(x.var() / 400) - 1e-3


def test_without_a_record_as_few_images_differ_as_can():
    ours, theirs = Scores({1: 90.0, 2: 90.0}, 500), Scores({1: 90.2, 2: 90.2}, 500)
    result = ours.less(theirs)
    assert result.half_width == pytest.approx(1.96 * 100 * np.sqrt(1 - 1 / 500 + 1) / 500, rel=1e-3)
    assert not result.has_records
    full = scores(bits("10", "11")).less(scores(bits("11", "10")))
    assert full.has_records


def test_records_of_another_number_of_images_are_not_used():
    ours, theirs = scores(bits("1100", "1100")), scores(bits("110", "110"))
    assert not ours.less(theirs).has_records


@pytest.mark.parametrize(("share", "images"), [(100.0, 500), (0.0, 500), (92.0, 599), (50.0, 10_000)])
def test_accuracy_of_seeds_that_agree_has_wilsons_interval(share, images):
    result = accuracy_interval([share, share, share], images)
    count = round(share * images / 100)
    exact = stats.binomtest(count, images).proportion_ci(0.95, method="wilson")
    value = accuracy_interval([100 * count / images] * 3, images)
    assert (value.low, value.high) == (
        pytest.approx(100 * exact.low, abs=1e-6),
        pytest.approx(100 * exact.high, abs=1e-6),
    )
    assert result.half_width > 0


def test_accuracy_has_the_seeds_and_the_images_part_on_each_side():
    values, images = [90.0, 92.0, 91.0, 93.0], 500
    result, seeds = accuracy_interval(values, images), interval(values)
    exact = stats.binomtest(round(0.915 * 5000), 5000).proportion_ci(0.95, method="wilson")
    assert result.mean == pytest.approx(91.5)
    assert result.mean - result.low > np.hypot(
        seeds.half_width, 91.5 - 100 * exact.low
    )  # of ten times the images
    share, z = 0.915, 1.959964
    low = (share + z**2 / 1000 - z * np.sqrt(share * (1 - share) / 500 + z**2 / 1e6)) / (1 + z**2 / 500)
    assert result.mean - result.low == pytest.approx(np.hypot(seeds.half_width, 91.5 - 100 * low), rel=1e-6)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_p_value_is_the_level_at_which_the_interval_touches_zero(n):
    values = np.random.default_rng(n).normal(1.0, 1.0, n).tolist()
    plain = interval(values)
    assert plain.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-6)
    both = interval(values, 0.3)
    level = both.p_value
    half = np.sqrt(
        stats.t.isf(level / 2, n - 1) ** 2 * both.seed_variance + stats.norm.isf(level / 2) ** 2 * 0.3
    )
    assert half == pytest.approx(abs(both.mean), rel=1e-6)
    assert (level < 0.05) == both.excludes_zero


def test_p_value_of_three_seeds_that_agree_is_that_of_the_images():
    assert interval([2.0, 2.0, 2.0], 1.0).p_value == pytest.approx(2 * stats.norm.sf(2.0))
    assert interval([2.0, 2.0], 1.0).p_value == 1.0
    assert interval([0.0, 0.0, 0.0], 1.0).p_value == 1.0
    assert np.isnan(interval([2.0]).p_value)


def test_detectable_difference_is_found_in_four_of_five_studies():
    rng = np.random.default_rng(0)
    true = Interval(0.0, np.nan, np.nan, 8, 1.5**2 / 8).detectable
    values = rng.normal(true, 1.5, (20_000, 8))
    t = values.mean(1) / (values.std(1, ddof=1) / np.sqrt(8))
    assert (np.abs(t) > stats.t.ppf(0.975, 7)).mean() == pytest.approx(0.8, abs=0.02)


def test_detectable_difference_of_the_published_kd_is_the_issues():
    # +0.33 ± 1.23 over 8 seeds: 1.7 points, as the issue has it.
    variance = (1.23 / stats.t.ppf(0.975, 7)) ** 2
    assert Interval(0.33, -0.9, 1.56, 8, variance).detectable == pytest.approx(1.7, abs=0.01)


def test_holm_is_the_published_example_and_leaves_missing_tests_alone():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, np.nan, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.03, np.nan, 0.06, 0.06, 0.02], nan_ok=True
    )
    assert holm([0.6, 0.7]) == [1.0, 1.0]


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
