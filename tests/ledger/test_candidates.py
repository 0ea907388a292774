"""Candidates, repeated searches and added seeds: which runs a study has after its search."""

from collections.abc import Callable
from typing import Any

import pytest

from lpstudy.ledger import CANDIDATE_SEEDS, SEEDS, Assignment, Done, Ledger, Waiting, read_ledger
from lpstudy.space import StudySpec, changed_settings

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]
RATE = {"learning_rate": {"low": 1e-3, "high": 1e-2}}
ARM = "bp-convnet-d2-w4"
THREE = {"candidates": 3}
RANGE = {"trials": 2, "epochs": 1, "seeds": {"low": 2, "high": 4}}


def budget(trials: int, seeds: object = 2) -> dict[str, object]:
    return {"trials": trials, "epochs": 1, "seeds": seeds, "pruner": "none"}


def one_arm(make: Make, **sections: Any) -> StudySpec:
    return make(**{"methods": {"bp": {}}, "training": RATE, "budget": budget(5), "finals": THREE} | sections)


def kinds(play: Any, kind: str) -> list[Assignment]:
    return [run for run in play.handed if run.kind == kind]


def lucky(run: Assignment, epoch: int) -> float:
    """The search prefers trials 4, 3 and 2; on other seeds trial 2 is the best of them."""
    if run.kind == "trial":
        return 80.0 + run.number
    return {4: 70.0, 3: 75.0, 2: 79.0}[run.number] + run.seed % 3


def test_the_best_trials_run_again_on_fresh_seeds_and_the_best_mean_wins(
    make: Make, reopen: Open, play: Any
) -> None:
    play.accuracy = lucky
    ledger = reopen(one_arm(make))
    play.all(ledger)
    candidates = kinds(play, "candidate")
    assert {(run.number, run.seed) for run in candidates} == {
        (number, seed) for number in (4, 3, 2) for seed in CANDIDATE_SEEDS
    }
    assert [run.seed for run in candidates] == sorted(run.seed for run in candidates)
    finals = kinds(play, "final")
    assert [(run.number, run.seed) for run in finals] == [(2, 1), (2, 2)]
    assert play.handed.index(finals[0]) > max(play.handed.index(run) for run in candidates)
    trials = {run.number: dict(run.values) for run in kinds(play, "trial")}
    assert all(dict(run.values) == trials[run.number] for run in (*candidates, *finals))
    assert not {run.seed for run in candidates} & {0, *range(1, 999_001)}
    assert ledger.is_complete()
    assert ledger.expected_runs == len(play.handed) == 5 + 9 + 2


def test_without_candidates_the_best_trial_goes_to_the_finals(make: Make, reopen: Open, play: Any) -> None:
    play.accuracy = lucky
    play.accuracy = lambda run, epoch: 80.0 + run.number
    play.all(reopen(one_arm(make, finals={"candidates": 1})))
    assert not kinds(play, "candidate")
    assert {run.number for run in kinds(play, "final")} == {4}


@pytest.mark.parametrize(("trials", "candidates"), [(1, 0), (2, 2), (3, 3), (5, 3)])
def test_an_arm_has_no_more_candidates_than_trials_and_one_trial_has_none(
    trials: int, candidates: int, make: Make, reopen: Open, play: Any
) -> None:
    ledger = reopen(one_arm(make, budget=budget(trials)))
    expected = ledger.expected_runs
    play.all(ledger)
    assert len(kinds(play, "candidate")) == candidates * 3
    assert expected == len(play.handed)


def test_three_is_the_default_of_a_new_study(make: Make, reopen: Open, play: Any) -> None:
    ledger = reopen(one_arm(make, finals={}))
    assert ledger.n_candidates == 3


def test_a_study_of_an_earlier_version_has_no_candidates(make: Make, reopen: Open, play: Any) -> None:
    spec = one_arm(make, finals={})
    ledger = reopen(spec)
    play.all(ledger)
    ledger.set_fact("finals", {"candidates": 1})  # as a ledger without the fact has it
    assert reopen(spec).n_candidates == 1
    assert read_ledger(ledger.engine, spec.name).n_candidates == 1


def test_a_candidate_without_a_finished_run_does_not_win(make: Make, reopen: Open, play: Any) -> None:
    play.accuracy = lucky
    ledger = reopen(one_arm(make))
    while not isinstance(run := ledger.next(), Done):
        assert isinstance(run, Assignment)
        play.handed.append(run)
        if run.kind == "candidate" and run.number == 2:
            ledger.finish(run, "failed", "oom: too large")
        else:
            play.run(ledger, run)
    assert {run.number for run in kinds(play, "final")} == {3}


def test_a_study_that_stops_after_each_run_has_the_same_runs(make: Make, reopen: Open, play: Any) -> None:
    play.accuracy = lucky
    spec = one_arm(make)
    play.all(reopen(spec))
    undisturbed = [run.key for run in play.handed]
    play.handed.clear()
    other = spec.model_copy(update={"name": "other"})
    while isinstance(play.one(reopen(other)), Assignment):
        pass
    assert [run.key for run in play.handed] == undisturbed


def test_an_unfinished_candidate_is_resumed_before_there_is_a_winner(
    make: Make, reopen: Open, play: Any
) -> None:
    spec = one_arm(make, budget=budget(2))
    ledger = reopen(spec)
    for _ in range(2 + 5):
        play.one(ledger)
    last = ledger.next()
    assert isinstance(last, Assignment)
    assert last.kind == "candidate"
    assert isinstance(ledger.next(), Waiting)
    assert ledger.winner(ARM) is None
    again = reopen(spec)
    resumed = again.next()
    assert isinstance(resumed, Assignment)
    assert (resumed.key, resumed.attempt) == (last.key, 2)


def test_further_trials_bring_further_candidates_and_keep_the_earlier_means(
    make: Make, reopen: Open, play: Any
) -> None:
    play.accuracy = lambda run, epoch: 80.0 + run.number if run.kind == "trial" else 90.0 - run.number
    play.all(reopen(one_arm(make, budget=budget(3))))
    assert {run.number for run in kinds(play, "final")} == {0}
    play.handed.clear()
    grown = reopen(one_arm(make, budget=budget(5)))
    play.all(grown)
    assert {run.number for run in kinds(play, "candidate")} == {3, 4}
    assert not kinds(play, "final")  # trial 0 has the highest mean still, and its finals
    winner = grown.winner(ARM)
    assert winner is not None
    assert winner.number == 0


def test_repeated_searches_are_arms_with_other_suggestions(make: Make, reopen: Open, play: Any) -> None:
    spec = one_arm(make, methods={"bp": {}, "kd": {}}, finals={"candidates": 1, "searches": 2})
    names = [arm.name for arm in spec.arms()]
    assert names == [ARM, f"{ARM}-search-2", "kd-convnet-d2-w4", "kd-convnet-d2-w4-search-2"]
    assert [arm.search for arm in spec.arms()] == [1, 2, 1, 2]
    play.all(reopen(spec))
    values = {name: [dict(r.values) for r in kinds(play, "trial") if r.arm == name] for name in names}
    assert all(len(points) == 5 for points in values.values())
    assert values[names[0]] != values[names[1]]
    assert {run.seed for run in kinds(play, "final") if run.arm == names[1]} == {1, 2}


def test_an_arm_without_a_search_is_not_repeated(make: Make) -> None:
    spec = make(methods={"bp": {}}, training={"learning_rate": 0.01}, finals={"searches": 3})
    assert [arm.name for arm in spec.arms()] == [ARM]


def test_an_arm_of_searched_sizes_is_not_repeated(make: Make) -> None:
    students = [{"family": "convnet", "depth": 2, "width": {"low": 2, "high": 4}}]
    spec = make(methods={"bp": {}}, training=RATE, students=students, finals={"searches": 3})
    assert [arm.search for arm in spec.arms()] == [1]


def test_a_search_is_added_to_a_begun_study(make: Make, reopen: Open, play: Any) -> None:
    small = one_arm(make, finals={"candidates": 1})
    play.all(reopen(small))
    play.handed.clear()
    play.all(reopen(one_arm(make, finals={"candidates": 1, "searches": 2})))
    assert {run.arm for run in play.handed} == {f"{ARM}-search-2"}
    assert not changed_settings(small, one_arm(make, finals={"candidates": 1, "searches": 2}))
    (line,) = changed_settings(small, one_arm(make, finals={"candidates": 2}))
    assert "finals.candidates" in line


def test_a_study_that_adds_seeds_is_complete_once_its_looks_are(make: Make, reopen: Open, play: Any) -> None:
    spec = one_arm(make, methods={"bp": {}, "kd": {}}, budget=RANGE, finals={"candidates": 1})
    ledger = reopen(spec)
    play.all(ledger)
    assert [run.seed for run in kinds(play, "final")] == [1, 1, 2, 2]
    assert not ledger.has_pending_runs(searching=True)
    assert not ledger.is_complete()
    assert set(ledger.open_arms) == set(ledger.arms)
    ledger.set_fact(SEEDS, {arm: {"seeds": 3, "is_open": True, "why": "open"} for arm in ledger.arms})
    play.handed.clear()
    play.all(ledger)
    assert [run.seed for run in kinds(play, "final")] == [3, 3]
    ledger.set_fact(SEEDS, {arm: {"seeds": 3, "is_open": False, "why": "decided"} for arm in ledger.arms})
    assert ledger.is_complete()
    assert reopen(spec).is_complete()
    assert read_ledger(ledger.engine, spec.name).is_complete()


@pytest.mark.parametrize("other", [5, {"low": 2, "high": 8}, {"low": 3, "high": 4}])
def test_the_looks_of_a_begun_study_cannot_change(other: object, make: Make, reopen: Open) -> None:
    reopen(one_arm(make, budget=RANGE))
    with pytest.raises(ValueError, match=r"budget\.seeds"):
        reopen(one_arm(make, budget=RANGE | {"seeds": other}))


def test_finals_wait_until_their_seed_has_a_teacher(make: Make, reopen: Open, play: Any) -> None:
    spec = one_arm(make, finals={"candidates": 1, "vary": ["seed", "teacher"]})
    ledger = reopen(spec)
    play.all(ledger)
    assert not kinds(play, "final")
    assert ledger.unprepared_seeds() == {1, 2}
    assert not ledger.is_complete()
    assert not ledger.has_startable_runs(searching=True)
    ledger.final_order.prepare(2)
    play.all(ledger)
    assert [run.seed for run in kinds(play, "final")] == [2]
    assert ledger.unprepared_seeds() == {1}
