"""Fronts of designs with finals, their hypervolume, and the best student for a budget."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lpstudy.figures import accuracy_over_cost
from lpstudy.tables import StudyResults
from lpstudy.tables.arms import arm_results
from lpstudy.tables.budgets import budget_choices, budget_table, costs
from lpstudy.tables.choice import choose_arm, finished_designs
from lpstudy.tables.front import front_table, fronts, hypervolume_table, macs_of
from lpstudy.tables.hypervolume import hypervolume_scores
from lpstudy.tables.scores import Scores


def naive_hypervolume(
    macs: list[float], accuracies: list[float], low: float, high: float, floor: float
) -> float:
    """The mean over a fine grid of budgets of the best accuracy within each."""
    cells = 40_000
    budgets = np.exp(np.log(low) + (np.arange(cells) + 0.5) / cells * np.log(high / low))
    best = np.full(cells, floor)
    for size, accuracy in zip(macs, accuracies, strict=True):
        best = np.where(budgets >= size, np.maximum(best, accuracy), best)
    return float(best.mean())


def scores(*accuracies: float) -> Scores:
    return Scores(dict(enumerate(accuracies, 1)), images=100)


def test_hypervolume_is_the_mean_accuracy_over_budgets() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 6):
        for _ in range(20):
            macs = (10 ** rng.uniform(3, 5, count)).tolist()
            accuracies = rng.uniform(5, 100, (2, count)).tolist()  # some below the floor, some beaten
            designs = list(zip(macs, (scores(*pair) for pair in zip(*accuracies, strict=True)), strict=True))
            actual = hypervolume_scores(designs, (2e3, 3e5), floor=10.0)
            for seed, values in enumerate(accuracies, 1):
                expected = naive_hypervolume(macs, values, 2e3, 3e5, 10.0)
                assert actual.accuracy[seed] == pytest.approx(expected, abs=5e-3)


def test_hypervolume_of_the_seeds_that_all_designs_have() -> None:
    one, two = Scores({1: 80.0, 2: 82.0}), Scores({2: 90.0, 3: 91.0})
    assert list(hypervolume_scores([(10.0, one), (100.0, two)], (10.0, 1000.0), floor=0.0).accuracy) == [2]


def test_the_images_behind_a_hypervolume_have_its_mean() -> None:
    rng = np.random.default_rng(1)
    designs = []
    for place, rate in enumerate((0.3, 0.6, 0.55, 0.9)):
        correct = {seed: rng.random(500) < rate for seed in (1, 2, 3)}
        accuracy = {seed: 100 * float(record.mean()) for seed, record in correct.items()}
        designs.append((10.0 ** (place + 1), Scores(accuracy, 500, correct)))
    volume = hypervolume_scores(designs, (5.0, 1e5), floor=10.0)
    for seed in (1, 2, 3):
        assert 100 * volume.correct[seed].mean() == pytest.approx(volume.accuracy[seed])


def test_a_difference_of_hypervolumes_covers_other_seeds_and_other_images() -> None:
    """Of methods that do not differ it has zero in 95 % of studies, within three standard errors."""
    rng, covered, studies = np.random.default_rng(2), 0, 150
    rates = np.array([0.7, 0.8, 0.85])
    for _ in range(studies):
        hardness = rng.normal(0, 1, 400)  # of the images, which both methods share
        fronts_of_methods = []
        for _ in range(2):
            designs = []
            for size, rate in zip((10.0, 30.0, 90.0), rates, strict=True):
                correct = {
                    seed: stats.norm.ppf(rate) * np.sqrt(2) + rng.normal(0, 0.02)
                    > hardness + rng.normal(0, 1, 400)
                    for seed in range(1, 5)
                }
                accuracy = {seed: 100 * float(record.mean()) for seed, record in correct.items()}
                designs.append((size, Scores(accuracy, 400, correct)))
            fronts_of_methods.append(hypervolume_scores(designs, (10.0, 180.0), floor=10.0))
        delta = fronts_of_methods[0].less(fronts_of_methods[1])
        covered += delta.low <= 0 <= delta.high
    assert covered / studies > 0.95 - 3 * np.sqrt(0.95 * 0.05 / studies)


def test_designs_are_those_of_the_validation_front(front_frames) -> None:
    for result in arm_results(front_frames.study, front_frames.runs):
        designs = result.designs
        trials = [int(one.finals["trial"].iloc[0]) for one in designs]
        by_trial = result.trials.set_index("trial")
        own = by_trial.loc[trials]
        assert own["macs"].is_monotonic_increasing
        assert own["validation_accuracy"].is_monotonic_increasing
        assert len(trials) == len(result.finals_by_trial) > 1
        assert designs[-1].winner_label == result.winner_label
        assert [one.accuracy.mean for one in designs][-1] == result.accuracy.mean


def test_a_design_that_a_cheaper_one_beats_is_no_longer_of_the_front(front_frames) -> None:
    runs = front_frames.runs.copy()
    result = arm_results(front_frames.study, runs)[0]
    second = int(result.designs[1].finals["trial"].iloc[0])
    is_own = runs["arm"].eq(result.arm.name) & runs["trial"].eq(second)
    runs.loc[is_own & runs["kind"].eq("trial"), "validation_accuracy"] = 1.0  # a smaller one is better
    after = arm_results(front_frames.study, runs)[0].designs
    assert second not in [int(one.finals["trial"].iloc[0]) for one in after]
    assert len(after) == len(result.designs) - 1


def test_tables_hold_the_designs_and_the_hypervolume_of_each_method(front_frames) -> None:
    study, runs = front_frames.study, front_frames.runs
    results = arm_results(study, runs)
    all_fronts = fronts(study, results)
    designs, volumes = front_table(study, all_fronts), hypervolume_table(all_fronts)
    assert volumes["method"].tolist() == ["bp", "kd", "lp"]
    finals = runs[runs["kind"].eq("final")]
    low, high = finals["macs"].min(), 2 * finals["macs"].max()
    assert volumes["macs_low"].eq(low).all()
    assert volumes["macs_high"].eq(high).all()
    by_method = {}
    for method, own in finals.groupby("method"):
        wide = own.pivot(index="seed", columns="macs", values="test_accuracy")
        by_method[method] = np.array(
            [
                naive_hypervolume(
                    [float(one) for one in wide.columns], list(row), low, high, 100 / study.classes
                )
                for row in wide.to_numpy()
            ]
        )
    for row in volumes.to_dict("records"):
        values = by_method[row["method"]]
        assert row["hypervolume_mean"] == pytest.approx(values.mean(), abs=0.01)
        assert row["seeds"] == len(values) == 3
        if row["method"] == "bp":
            assert np.isnan(row["delta_bp_mean"])
            continue
        delta = values - by_method["bp"]
        half = stats.t.ppf(0.975, 2) * delta.std(ddof=1) / np.sqrt(3)
        assert row["delta_bp_mean"] == pytest.approx(delta.mean(), abs=0.01)
        assert row["delta_bp_high"] - row["delta_bp_mean"] >= half - 0.02
    for row in designs.to_dict("records"):
        own = finals[finals["method"].eq(row["method"]) & finals["trial"].eq(row["trial"])]
        assert row["accuracy_mean"] == pytest.approx(own["test_accuracy"].astype(float).mean())
        assert (row["macs"], row["design"]) == (own["macs"].iloc[0], own["student"].iloc[0])


def test_arms_with_one_design_have_no_table_of_fronts(frames, searched_frames) -> None:
    for one in (frames, searched_frames):
        assert fronts(one.study, arm_results(one.study, one.runs)) == []


def test_each_budget_has_the_design_that_deploy_takes(front_frames) -> None:
    study, results = front_frames.study, arm_results(front_frames.study, front_frames.runs)
    finals = front_frames.runs[front_frames.runs["kind"].eq("final")]
    means = finals.groupby(["method", "trial", "macs"])["validation_accuracy"].mean().reset_index()
    choices = [one for one in budget_choices(study, results) if one.cost == "macs"]
    assert 1 < len(choices) <= 5
    assert choices[0].budget == finals["macs"].min()
    for one in choices:
        best = means[means["macs"] <= one.budget].sort_values("validation_accuracy").iloc[-1]
        assert (one.chosen.arm.method, macs_of(one.chosen)) == (best["method"], best["macs"])
        chosen = choose_arm(results, under_macs=one.budget)
        assert (chosen.arm.name, chosen.winner_label) == (one.chosen.arm.name, one.chosen.winner_label)
    assert [one.budget for one in choices] == sorted({one.budget for one in choices})


def test_designs_that_the_chosen_one_does_not_beat_are_within_noise(front_frames) -> None:
    study, results = front_frames.study, arm_results(front_frames.study, front_frames.runs)
    for choice in (one for one in budget_choices(study, results) if one.cost == "macs"):
        within = [one for one in finished_designs(results) if macs_of(one) <= choice.budget]
        others = [
            one
            for one in within
            if one.winner_label != choice.chosen.winner_label or one.arm != choice.chosen.arm
        ]
        deltas = [choice.chosen.scores.less(one.scores) for one in others]
        ranked = sorted(range(len(others)), key=lambda place: deltas[place].p_value)
        beaten, is_open = set(), True
        for rank, place in enumerate(ranked):  # Holm's step-down
            is_open = is_open and deltas[place].p_value < 0.05 / (len(others) - rank)
            if is_open and deltas[place].mean > 0:
                beaten.add(place)
        expected = {others[place].accuracy.mean for place in range(len(others)) if place not in beaten}
        assert {one.accuracy.mean for one in choice.rivals} == expected
        assert choice.others == len(others)


def test_budgets_of_milliseconds_only_where_they_were_measured(front_frames) -> None:
    study, results = front_frames.study, arm_results(front_frames.study, front_frames.runs)
    assert {one.cost for one in budget_choices(study, results)} == {"macs", "parameters"}
    assert np.isnan(costs(study)["latency_ms"](results[0]))


def test_students_of_one_size_have_no_budgets(one) -> None:
    assert budget_choices(one.study, arm_results(one.study, one.runs)) == []
    assert budget_table([]).empty


def test_the_report_has_fronts_and_budgets(front_frames, text_of, searched_frames) -> None:
    text = text_of(front_frames)
    assert "## Fronts" in text
    assert "## The best student for a budget" in text
    results: StudyResults = front_frames.results
    all_fronts = fronts(results.facts, arm_results(results.facts, results.runs))
    volume: pd.Series = hypervolume_table(all_fronts).iloc[1]
    assert f"{volume['hypervolume_mean']:.2f}\u00a0±" in text
    assert "## Fronts" not in text_of(searched_frames)


def test_designs_of_a_front_are_no_winners_in_turn(front_frames, text_of) -> None:
    assert "The test set was read for more than one winner" not in text_of(front_frames)
    runs = front_frames.runs.copy()
    result = arm_results(front_frames.study, runs)[0]
    second = int(result.designs[1].finals["trial"].iloc[0])
    is_own = runs["arm"].eq(result.arm.name) & runs["trial"].eq(second) & runs["kind"].eq("trial")
    runs.loc[is_own, "validation_accuracy"] = 1.0
    text = text_of(replace(front_frames, runs=runs))
    assert (
        f"what all trials chose is in the tables: `bp` on `convnet` ({len(result.designs)} designs)" in text
    )


def test_the_figure_has_every_design_of_a_front(front_frames, searched_frames) -> None:
    study, runs = front_frames.study, front_frames.runs
    figure = accuracy_over_cost(front_frames.results, "macs")
    assert figure is not None
    drawn = sorted(float(bar[0].get_xdata()[0]) for bar in figure.axes[0].containers)
    designs = [one for result in arm_results(study, runs) for one in result.designs]
    assert drawn == sorted(macs_of(one) for one in designs)
    words = " ".join(text.get_text() for text in (*figure.texts, *figure.axes[0].texts))
    assert "joins the designs of a method's front" in words
    plain = accuracy_over_cost(searched_frames.results, "macs")
    assert plain is not None
    assert "front" not in " ".join(text.get_text() for text in (*plain.texts, *plain.axes[0].texts))


def test_repeated_searches_have_the_mean_hypervolume_of_their_fronts(front_frames) -> None:
    study, runs = front_frames.study, front_frames.runs
    again = runs.assign(arm=runs["arm"] + "-search-2")
    is_final = again["kind"].eq("final")
    again.loc[is_final, "test_accuracy"] = again.loc[is_final, "test_accuracy"].astype(float) - 2
    again.loc[is_final, "test_correct"] = None
    arms = [arm for one in study.arms for arm in (one, replace(one, name=f"{one.name}-search-2"))]
    both = replace(study, arms=tuple(arms))
    first = hypervolume_table(fronts(study, arm_results(study, runs)))
    all_fronts = fronts(both, arm_results(both, pd.concat([runs, again])))
    table = hypervolume_table(all_fronts)
    assert table["method"].tolist() == ["bp", "kd", "lp"]
    assert table["designs"].tolist() == (2 * first["designs"]).tolist()
    for before, after in zip(first.to_dict("records"), table.to_dict("records"), strict=True):
        # The second search is 2 points worse wherever there is a design, of which the range has some share.
        assert before["hypervolume_mean"] - 1.0 - 1e-9 <= after["hypervolume_mean"]
        assert after["hypervolume_mean"] < before["hypervolume_mean"] - 0.5
        assert (
            after["hypervolume_high"] - after["hypervolume_low"]
            > before["hypervolume_high"] - before["hypervolume_low"]
        )
    assert len(front_table(both, all_fronts)) == 2 * len(
        front_table(study, fronts(study, arm_results(study, runs)))
    )


def test_the_first_screen_says_which_fronts_are_beyond_noise(front_frames, text_of) -> None:
    text = text_of(front_frames)
    screen = text[: text.index("## Comparison")]
    results = arm_results(front_frames.study, front_frames.runs)
    beyond = [one for one in fronts(front_frames.study, results) if one.is_beyond_noise]
    for student in {one.result.arm.student for one in beyond}:
        (line,) = [row for row in screen.splitlines() if row.startswith(f"Over the sizes of `{student}`")]
        for one in beyond:
            if one.result.arm.student == student:
                assert f"`{one.result.arm.method}` ({one.delta.mean:+.2f}".replace("-", "−") in line
    assert "Over the sizes of" in screen
