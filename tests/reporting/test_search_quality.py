"""Best so far, best values at an end of their ranges, and what the report says of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lpstudy.rendering.page import page
from lpstudy.rendering.report_files import report_text
from lpstudy.rendering.search_section import importance_note, search_section
from lpstudy.tables import comparison, spreadsheet_safe
from lpstudy.tables.arms import ArmResult, arm_results
from lpstudy.tables.facts import NumberRange
from lpstudy.tables.search_quality import ENOUGH_TRIALS, ArmSearch, position, search_table, searches

NAME = "kd-convnet-d4-w8"


@pytest.fixture
def frames(make_frames):
    return make_frames(methods=("bp", "kd"), students=("convnet-d4-w8",), trials=10)


def search_of(frames, changes=None):
    """The search of the arm of kd, with accuracies and states of its first trials in their places."""
    runs = frames.runs.copy()
    rows = runs.index[runs["arm"].eq(NAME) & runs["kind"].eq("trial")]
    for column, values in (changes or {}).items():
        runs.loc[rows[: len(values)], column] = values
    return next(one for one in searches(arm_results(frames.study, runs)) if one.result.arm.name == NAME)


STATES = ["finished"] * 10
VALUES = [50.0, 70.0, 60.0, 70.0, 65.0, 69.0, 72.5, 72.5, 71.0, 10.0]


def test_the_best_so_far_is_numpys_running_maximum(frames):
    search = search_of(frames, {"state": STATES, "validation_accuracy": VALUES})
    assert search.progress["best"].tolist() == np.maximum.accumulate(VALUES).tolist()
    assert (search.flat_since, search.trials_since, search.best) == (6, 3, 72.5)
    assert search.gain_of_second_half == 2.5
    assert not search.is_late  # the seventh of ten


def test_a_pruned_or_failed_trial_is_never_the_best(frames):
    states = STATES.copy()
    states[6], states[7] = "pruned", "failed"
    search = search_of(frames, {"state": states, "validation_accuracy": VALUES})
    assert (search.best, search.flat_since) == (71.0, 8)
    assert search.is_late
    assert len(search.full_budget) == 8


def test_compute_counts_pruned_trials_too_and_not_the_teacher(frames):
    macs, teacher = [float(10 + one) for one in range(10)], [4.0] * 10
    states = STATES.copy()
    states[2] = "pruned"
    changes = {"state": states, "validation_accuracy": VALUES, "training_macs": macs, "teacher_macs": teacher}
    search = search_of(frames, changes)
    assert search.cost("macs") == (sum(macs) - 40, sum(macs[:7]) - 28)


def test_infeasible_designs_are_no_trials(frames):
    states = [*STATES[:9], "infeasible"]
    search = search_of(frames, {"state": states, "validation_accuracy": VALUES})
    assert len(search.progress) == 9


@pytest.mark.parametrize(
    ("value", "space", "place"),
    [
        (1.0, NumberRange(0.1, 10, log=True), 0.5),
        (10.0, NumberRange(0.1, 10, log=True), 1.0),
        (2.0, NumberRange(1, 5), 0.25),
    ],
)
def test_places_are_on_the_ranges_own_scale(value, space, place):
    assert position(value, space) == pytest.approx(place)


def edges(frames, value, space):
    arms = tuple(replace(arm, numbers={"weight": space}) for arm in frames.study.arms)
    runs = frames.runs.copy()
    runs["searched"] = [{"weight": value, "temperature": 3.0}] * len(runs)
    results = arm_results(replace(frames.study, arms=arms), runs)
    return ArmSearch(next(one for one in results if one.arm.name == NAME)).edges


LOG = NumberRange(0.01, 1, log=True, below="{ low = 0.001 }", above="{ high = 10 }", section="methods.kd")


@pytest.mark.parametrize(
    ("value", "end"),
    [(0.01, "low"), (0.0125, "low"), (0.0127, None), (0.1, None), (0.79, None), (0.8, "high"), (1.0, "high")],
)
def test_a_best_value_is_at_an_end_within_a_twentieth_of_the_range_in_logs(frames, value, end):
    assert (end is None) == (0.05 < np.log10(value / 0.01) / 2 < 0.95)
    assert [one.end for one in edges(frames, value, LOG)] == ([] if end is None else [end])


def test_a_range_of_one_value_and_a_choice_have_no_end(frames):
    assert edges(frames, 1.0, NumberRange(1.0, 1.0)) == ()
    assert edges(frames, "linear", LOG) == ()
    assert edges(frames, True, LOG) == ()


def test_the_report_names_the_range_to_search_instead(frames):
    arms = tuple(replace(arm, numbers={"weight": LOG}) for arm in frames.study.arms)
    frames.runs["searched"] = [{"weight": 0.99}] * len(frames.runs)
    found = searches(arm_results(replace(frames.study, arms=arms), frames.runs))
    section = search_section(found)
    assert (
        "| `weight` | 0.01 to 1, log | `{ high = 10 }` in \\[methods.kd\\] | 0.99 | high |" in section.edges
    )
    assert section.edge_words.startswith("2 of 2 best values lie within 5 %")
    assert search_table(found)["at_edge"].tolist() == ["weight high: { high = 10 }"] * 2


def test_late_arms_are_named_with_what_they_gained(frames):
    search = search_of(frames, {"state": STATES, "validation_accuracy": [*VALUES[:9], 74.0]})
    text = " ".join(search_section([search]).progress)
    assert "last quarter of the trials in 1 of 1 arm" in text
    assert "in about 0.2" in text  # the last two of ten
    assert "`kd` on `convnet-d4-w8` (trial 9, +4.00 points since half)" in text


def test_three_trials_say_nothing_of_how_far_a_search_has_come(make_frames):
    frames = make_frames(methods=("bp",), students=("convnet-d4-w8",), trials=3)
    section = search_section(searches(arm_results(frames.study, frames.runs)))
    assert "fewer than four trials" in section.progress[0]


def test_importances_rest_on_trials_of_all_epochs_and_need_enough_of_them(make_frames):
    frames = make_frames(methods=("kd",), students=("convnet-d4-w8",), trials=40)
    trials = frames.runs[frames.runs["kind"].eq("trial")]
    finished = int((trials["state"] == "finished").sum())
    assert finished < len(trials)
    [search] = searches(arm_results(frames.study, frames.runs))
    assert len(search.full_budget) == finished >= ENOUGH_TRIALS
    assert search.can_tell_importances
    assert f"{finished} for each arm shown" in importance_note([search])
    few = frames.runs.drop(index=trials.index[trials["state"].eq("finished")][ENOUGH_TRIALS - 1 :])
    [search] = searches(arm_results(frames.study, few))
    assert not search.can_tell_importances
    assert "too few" in importance_note([search])


def test_hostile_names_stay_text(frames):
    name = "=cmd|' /C calc'!A0 | <img src=x> `b` [a](javascript:x)"
    space = NumberRange(0.01, 1, log=True, above=name, section=name)
    arms = tuple(
        replace(arm, student=name, numbers={name: space}, ranges={name: name}) for arm in frames.study.arms
    )
    frames.runs["searched"] = [{name: 1.0}] * len(frames.runs)
    study = replace(frames.study, arms=arms)
    text = report_text(replace(frames.results, facts=study), (), links=lambda run: "")
    html = page(text, "study", comparison(study, frames.runs), {})
    assert "src=x" in html
    assert "<img" not in html
    assert 'href="javascript' not in html
    found = searches(arm_results(study, frames.runs))
    cells = spreadsheet_safe(search_table(found)).astype(str).to_numpy().ravel()
    assert not any(cell.startswith("=") for cell in cells)


def test_repeated_searches_are_rows_of_their_own(frames):
    again = frames.runs[frames.runs["arm"].eq(NAME)].assign(arm=f"{NAME}-search-2")
    arms = frames.study.arms
    second = next(replace(arm, name=f"{NAME}-search-2", search=2) for arm in arms if arm.name == NAME)
    study = replace(frames.study, arms=(*arms, second))
    found = searches(arm_results(study, pd.concat([frames.runs, again], ignore_index=True)))
    assert search_table(found)[["method", "search"]].to_numpy().tolist() == [["bp", 1], ["kd", 1], ["kd", 2]]
    assert "| `kd` | `convnet-d4-w8`, search 2 | 9 |" in search_section(found).table


def test_no_trials_give_no_section():
    assert search_section([]) is None


def test_an_arm_without_a_finished_trial_has_no_best(frames):
    search = search_of(frames, {"state": ["failed"] * 10, "validation_accuracy": [np.nan] * 10})
    assert np.isnan(search.best)
    assert (search.flat_since, search.trials_since) == (None, None)
    assert "–" in search_section([search]).table
    assert isinstance(search.result, ArmResult)
