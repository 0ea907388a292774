"""Wins, ties, losses and mean ranks over studies, held against SciPy, hand counts and the literature."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lpstudy.rendering.across_studies import comparison_text, console_lines, rank_words
from lpstudy.tables.across_studies import (
    FEWEST_STUDIES,
    block_table,
    blocks_of,
    friedman,
    method_table,
    ranking,
    tally,
)
from lpstudy.tables.arms import arm_results
from lpstudy.tables.pairs import pairs_table
from lpstudy.tables.verdicts import verdicts

# Demsar (2006), table 5 (a): two-tailed Nemenyi, 5 %.
CRITICAL_VALUES = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}


@pytest.fixture(scope="module")
def studies(make_frames):
    """Two studies: the second has no lp, and one student."""
    one = make_frames(methods=("bp", "kd", "lp", "lp_kd"), generator_seed=1)
    two = make_frames(methods=("bp", "kd", "lp_kd"), students=("convnet-d4-w8",), generator_seed=5)
    return [one.results, replace(two.results, facts=replace(two.study, name="other"))]


@pytest.fixture(scope="module")
def blocks(studies):
    return blocks_of(studies)


def test_wins_and_losses_are_what_each_report_calls_better_and_worse(studies, blocks):
    for method in ("kd", "lp", "lp_kd"):
        found = [
            one
            for study in studies
            for one in verdicts(arm_results(study.facts, study.runs))
            if one.result.arm.method == method
        ]
        expected = (
            sum(one.is_better for one in found),
            sum(one.is_within_noise for one in found),
            sum(one.is_worse for one in found),
        )
        counts = tally(blocks, method, "bp")
        assert (counts.wins, counts.ties, counts.losses) == expected
        assert sum(expected) == len(found)


def test_the_test_against_kd_is_that_of_pairs_csv(studies, blocks):
    frame = block_table(blocks, ranking(blocks)).set_index(["study", "student", "method"])
    compared = 0
    for study in studies:
        pairs = pairs_table(arm_results(study.facts, study.runs))
        for _, pair in pairs[pairs["p_t_holm_kd"].notna()].iterrows():
            method, sign = (pair["method"], 1) if pair["rival"] == "kd" else (pair["rival"], -1)
            row = frame.loc[(study.facts.name, pair["student"], method)]
            assert row["p_holm_kd"] == pytest.approx(pair["p_t_holm_kd"])
            assert row["delta_kd"] == pytest.approx(sign * pair["delta_mean"])
            compared += 1
    assert compared == 3 + 3 + 2


def test_mean_ranks_are_scipys_over_the_blocks_that_all_share(studies, blocks):
    ranked = ranking(blocks)
    assert ranked.methods == ("bp", "kd", "lp_kd")  # the other study has no lp
    assert len(ranked.blocks) == 3
    means = []
    for study in studies:
        finals = study.runs[study.runs["kind"].eq("final")]
        for student in dict.fromkeys(finals["student"]):
            own = finals[finals["student"].eq(student)]
            means.append([own[own["method"].eq(method)]["test_accuracy"].mean() for method in ranked.methods])
    expected = stats.rankdata(-np.array(means), axis=1).mean(axis=0)
    assert list(ranked.mean.values()) == pytest.approx(expected.tolist())


def test_named_methods_are_ranked_where_all_have_results(blocks):
    ranked = ranking(blocks, ["lp", "bp"])
    assert [block.study for block in ranked.blocks] == ["mnist", "mnist"]
    with pytest.raises(ValueError, match="no study has a method 'nix'; they have bp, kd, lp, lp_kd"):
        ranking(blocks, ["nix"])


def test_a_block_where_a_method_has_no_result_or_another_size_is_left_out(studies):
    study = studies[0]
    runs = study.runs.copy()
    failed = runs["arm"].eq("kd-convnet-d4-w8") & runs["kind"].eq("final")
    runs.loc[failed, "state"] = "failed"
    larger = runs["arm"].eq("kd-convnet-d4-w16")
    runs.loc[larger, "macs"] = runs.loc[larger, "macs"] + 1
    blocks = blocks_of([replace(study, runs=runs)])
    assert ranking(blocks, ["bp", "lp"]).blocks == tuple(blocks)
    assert ranking(blocks, ["bp", "kd"]).blocks == ()
    counts = tally(blocks, "kd", "bp")
    assert (counts.wins, counts.ties, counts.losses, counts.not_compared) == (0, 0, 0, 2)
    assert "no mean ranks" in rank_words(blocks, ranking(blocks, ["bp", "kd"]))[0]


@pytest.mark.parametrize("k", [3, 4, 7])
def test_the_friedman_test_is_scipys_with_iman_and_davenports_f(k):
    rng = np.random.default_rng(k)
    values = rng.normal(size=(9, k)) + np.arange(k) / 2
    values[2] = np.round(values[2])  # ties
    values[3, :2] = 0.0
    ranks = stats.rankdata(values, axis=1)
    found = friedman(ranks)
    chi_square, _ = stats.friedmanchisquare(*ranks.T)
    assert found.chi_square == pytest.approx(chi_square)
    f = 8 * chi_square / (9 * (k - 1) - chi_square)
    assert found.f == pytest.approx(f)
    assert found.p_value == pytest.approx(stats.f.sf(f, k - 1, 8 * (k - 1)))


@pytest.mark.parametrize("k", CRITICAL_VALUES)
def test_the_critical_difference_is_demsars(k):
    ranks = np.tile(np.arange(1.0, k + 1), (12, 1))
    expected = CRITICAL_VALUES[k] * np.sqrt(k * (k + 1) / (6 * 12))
    assert friedman(ranks).critical_difference == pytest.approx(expected, rel=1e-3)


def test_equal_ranks_and_perfect_agreement_have_a_p_value():
    assert friedman(np.full((6, 3), 2.0)).p_value == 1
    assert friedman(np.tile([1.0, 2.0, 3.0], (6, 1))).p_value == pytest.approx(1 / 6**5)


def test_the_family_of_pairs_keeps_its_level_where_no_method_differs():
    rng = np.random.default_rng(0)
    claims = 0
    for _ in range(300):
        found = friedman(stats.rankdata(rng.random((FEWEST_STUDIES, 5)), axis=1))
        claims += found.p_value < 0.05 and np.ptp(found.mean_ranks) > found.critical_difference
    assert claims <= 0.05 * 300 + 2 * np.sqrt(300 * 0.05 * 0.95)


def named(study, number):
    return replace(study, facts=replace(study.facts, name=f"s{number}"))


def test_too_few_studies_get_one_line_and_enough_a_test(studies, make_frames):
    few = blocks_of([named(studies[0], number) for number in range(FEWEST_STUDIES - 1)])
    words = " ".join(rank_words(few, ranking(few)))
    assert "5 studies are too few for a Friedman test, which needs 6" in words
    enough = [
        make_frames(
            methods=("bp", "kd", "lp"), students=("convnet-d4-w8",), trials=2, generator_seed=n
        ).results
        for n in range(8)
    ]
    many = blocks_of([named(one, number) for number, one in enumerate(enough)])
    ranked = ranking(many)
    words = " ".join(rank_words(many, ranked))
    assert "Friedman test over 8 studies" in words
    assert "`kd` before `bp`" in words  # kd leads in each by almost a point
    assert ranked.mean["kd"] < 1.5


def test_students_of_one_study_are_one_observation_of_the_test(studies):
    ranked = ranking(blocks_of([named(studies[0], number) for number in range(6)]))
    assert ranked.ranks.shape == (12, 4)
    assert ranked.of_studies.shape == (6, 4)


def test_a_method_has_no_counts_against_itself(blocks):
    frame = method_table(blocks, ranking(blocks)).set_index("method")
    assert frame.loc["bp", ["wins_bp", "ties_bp", "losses_bp", "not_compared_bp"]].isna().all()
    assert frame.loc["kd", "wins_bp"] == tally(blocks, "kd", "bp").wins


def test_the_terminals_table_stays_narrow_and_says_what_it_rests_on(blocks):
    lines = console_lines(blocks, ranking(blocks))
    assert max(map(len, lines[:6])) <= 80
    assert any(
        "of 3 methods over the 3 of 3 blocks that all of them share, of 2 studies" in line for line in lines
    )


def test_a_name_of_two_methods_is_noted_and_hostile_names_stay_text(studies):
    name = "x | <b>`y` [a](javascript:b)\n# c"
    arms = tuple(
        replace(arm, student=name, fixed={"method": "lp"} if arm.method == "kd" else {})
        for arm in studies[0].facts.arms
    )
    hostile = replace(studies[0], facts=replace(studies[0].facts, name=name, arms=arms))
    blocks = blocks_of([hostile, studies[1]])
    text = comparison_text(blocks, ranking(blocks))
    assert "`kd` is not one method: " in text
    assert "<b>" not in text
    assert "\n# c" not in text
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 2  # rows have as many cells as their heads
    assert not any("\n" in line for line in console_lines(blocks, ranking(blocks)))
