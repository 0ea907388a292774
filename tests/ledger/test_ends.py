"""Ends of runs, winners, finals, and completed studies."""

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from lpstudy.ledger import Assignment, Done, Ledger, Waiting, hyperparameter_importances, read_ledger
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]

ARM = "bp-convnet-d2-w4"
ONE_ARM = {"bp": {}}
CURVES = [
    [start + gain * epoch for epoch in range(16)]
    for start, gain in ((50, 1), (40, 2), (60, 0.5), (55, 0.2), (20, 1), (58, 1), (61, 0.4), (30, 3))
]
EPOCHS_TRAINED = {"median": [16, 16, 16, 16, 8, 16, 16, 8], "halving": [16, 2, 16, 2, 2, 2, 16, 2]}
RUNGS = {"median": [8, 10, 12, 14], "halving": [2, 8]}
"""Rungs of each pruner; EPOCHS_TRAINED is computed from the rules in NumPy over these curves."""


def results(*percents: float) -> list[EpochResult]:
    return [EpochResult(n, {"validation_accuracy": p}) for n, p in enumerate(percents, 1)]


def next_run(ledger: Ledger) -> Assignment:
    run = ledger.next()
    assert isinstance(run, Assignment)
    return run


def reported(ledger: Ledger, run: Assignment, *percents: float) -> list[bool]:
    """The decision of the ledger to prune after each epoch."""
    return [ledger.report(run, [result]) for result in results(*percents)]


def test_a_weak_trial_is_pruned_once_there_are_enough_to_judge_by(make: Make, reopen: Open) -> None:
    ledger = reopen(make(methods=ONE_ARM, budget={"trials": 6, "epochs": 4, "seeds": 5}))
    for _ in range(4):  # as many as the median rule wants
        run = next_run(ledger)
        assert reported(ledger, run, 5, 6, 7, 8) == [False] * 4
        ledger.finish(run, "finished")
    run = next_run(ledger)
    # Not judged before half of the epochs; the last one has nothing left to save.
    assert reported(ledger, run, 1, 2) == [False, True]
    ledger.finish(run, "pruned")
    assert ledger.record(run).state == "pruned"
    run = next_run(ledger)
    assert reported(ledger, run, 10, 11, 12, 3) == [False] * 4
    ledger.finish(run, "finished")
    for percent in (90, 90, 90, 90, 1):
        final = next_run(ledger)
        assert final.kind == "final"
        assert reported(ledger, final, *[percent] * 4) == [False] * 4
        ledger.finish(final, "finished")


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_a_trial_ends_at_its_rung_however_few_epochs_are_reported_together(
    pruner: str, make: Make, reopen: Open
) -> None:
    budget = {"trials": 8, "epochs": 16, "seeds": 1, "pruner": pruner}
    spec = make(methods=ONE_ARM, budget=budget)
    ledger = reopen(spec)
    for together, curve in enumerate(CURVES):
        run, epoch_results = next_run(ledger), results(*curve)
        assert list(ledger.rungs(run)) == RUNGS[pruner]
        cuts = sorted({0, *RUNGS[pruner], 16, *range(0, 16, (1, 2, 5, 16)[together % 4])})
        chunks = [epoch_results[first:after] for first, after in pairwise(cuts)]
        pruned = next((True for chunk in chunks if ledger.report(run, chunk)), False)
        ledger.finish(run, "pruned" if pruned else "finished")
        if together % 2:
            ledger = reopen(spec)
    assert [len(record.epochs) for record in ledger.records()] == EPOCHS_TRAINED[pruner]


def test_a_trial_that_has_trained_to_its_end_is_finished_and_may_win(make: Make, reopen: Open) -> None:
    ledger = reopen(make(methods=ONE_ARM, budget={"trials": 6, "epochs": 4, "seeds": 1}))
    for _ in range(4):
        run = next_run(ledger)
        reported(ledger, run, 50, 60, 70, 80)
        ledger.finish(run, "finished")
    late = next_run(ledger)
    assert ledger.report(late, results(1, 2, 3, 99)) is False  # the rungs at 2 and 3 would have pruned it
    ledger.finish(late, "finished")
    assert (ledger.record(late).state, len(ledger.record(late).epochs)) == ("finished", 4)
    short = next_run(ledger)
    assert ledger.report(short, results(1, 2, 3)) is True
    ledger.finish(short, "pruned")
    assert len(ledger.record(short).epochs) == 3  # all that was trained, past the rung at 2
    winner = ledger.winner(ARM)
    assert winner is not None
    assert winner.number == late.number


def test_a_pruned_trial_never_wins_whatever_it_reached(make: Make, reopen: Open) -> None:
    ledger = reopen(make(methods=ONE_ARM, budget={"trials": 2, "epochs": 4, "seeds": 1}))
    stopped = next_run(ledger)
    reported(ledger, stopped, 97, 98, 99)
    ledger.finish(stopped, "pruned")
    other = next_run(ledger)
    reported(ledger, other, 10, 11, 12, 13)
    ledger.finish(other, "finished")
    assert ledger.record(stopped).state == "pruned"
    final = next_run(ledger)
    assert (final.kind, final.number) == ("final", other.number)


def test_the_last_epoch_selects_and_not_the_best_one(make: Make, reopen: Open) -> None:
    ledger = reopen(make(methods=ONE_ARM, budget={"trials": 2, "epochs": 3, "seeds": 1}))
    early, late = next_run(ledger), next_run(ledger)
    reported(ledger, early, 10, 99, 50)
    reported(ledger, late, 20, 30, 60)
    for run in (early, late):
        ledger.finish(run, "finished")
    final = next_run(ledger)
    assert (final.kind, final.number) == ("final", late.number)


def test_nothing_is_pruned_by_none(make: Make, reopen: Open) -> None:
    ledger = reopen(make(methods=ONE_ARM, budget={"trials": 4, "epochs": 3, "seeds": 1, "pruner": "none"}))
    for percent in (90, 90, 90, 1):
        run = next_run(ledger)
        assert reported(ledger, run, percent, percent, percent) == [False] * 3
        ledger.finish(run, "finished")


def test_a_failed_trial_counts_and_never_wins(make: Make, reopen: Open) -> None:
    ledger = reopen(make(methods=ONE_ARM, budget={"trials": 2, "epochs": 2, "seeds": 1}))
    run = next_run(ledger)
    reported(ledger, run, 99)
    ledger.finish(run, "failed", "nan: loss is nan in epoch 2")
    assert (ledger.record(run).state, ledger.record(run).cause) == ("failed", "nan: loss is nan in epoch 2")
    other = next_run(ledger)
    reported(ledger, other, 10, 11)
    ledger.finish(other, "finished")
    final = next_run(ledger)
    assert (final.kind, final.number) == ("final", other.number)


def test_a_run_that_ends_before_its_last_epoch_has_failed(make: Make, reopen: Open) -> None:
    ledger = reopen(make(methods=ONE_ARM))
    run = next_run(ledger)
    reported(ledger, run, 99)
    ledger.finish(run, "finished")
    record = ledger.record(run)
    assert (record.state, record.cause) == ("failed", "ended after 1 of 2 epochs")
    assert ledger.winner(ARM) is None


def test_a_run_that_has_ended_stays_as_it_is(make: Make, reopen: Open) -> None:
    ledger = reopen(make(methods=ONE_ARM))
    run = next_run(ledger)
    reported(ledger, run, 50, 60)
    ledger.finish(run, "finished")
    ledger.finish(run, "failed", "a late word")
    assert reported(ledger, run, 1, 1, 1) == [False] * 3
    record = ledger.record(run)
    assert (record.state, record.cause, len(record.epochs)) == ("finished", None, 2)
    assert record.last == {"validation_accuracy": 60}


def test_an_arm_all_of_whose_trials_failed_has_no_finals(make: Make, reopen: Open) -> None:
    ledger = reopen(make(methods=ONE_ARM, budget={"trials": 1, "epochs": 1, "seeds": 3}))
    assert ledger.expected_runs == 4
    ledger.finish(next_run(ledger), "failed", "died")
    assert isinstance(ledger.next(), Done)
    assert ledger.is_complete()
    assert ledger.expected_runs == len(ledger.records()) == 1


def test_finals_train_each_winner_once_on_every_seed(make: Make, reopen: Open, play: Any) -> None:
    ledger = reopen(make())
    play.all(ledger)
    trials = [run for run in play.handed if run.kind == "trial"]
    finals = [run for run in play.handed if run.kind == "final"]
    assert play.handed == trials + finals
    assert {run.seed for run in trials} == {0}
    assert [run.seed for run in finals] == [1, 1, 2, 2]
    for arm in ledger.arms:
        own = [run for run in trials if run.arm == arm]
        best = max(own, key=lambda run: play.accuracy(run, 2))
        for final in (run for run in finals if run.arm == arm):
            assert (final.number, final.values) == (best.number, best.values)
    assert len({run.key for run in play.handed}) == len(play.handed) == ledger.expected_runs


def test_finals_wait_for_the_last_trial_of_their_arm(make: Make, reopen: Open, play: Any) -> None:
    ledger = reopen(make(methods=ONE_ARM, budget={"trials": 2, "epochs": 1, "seeds": 1}))
    first, second = next_run(ledger), next_run(ledger)
    play.run(ledger, first)
    assert isinstance(ledger.next(), Waiting)
    play.run(ledger, second)
    assert next_run(ledger).kind == "final"
    assert not ledger.is_complete()
    assert isinstance(ledger.next(), Waiting)


def test_more_trials_and_seeds_reopen_a_complete_study(make: Make, reopen: Open, play: Any) -> None:
    play.all(reopen(make(methods=ONE_ARM, budget={"trials": 1, "epochs": 1, "seeds": 1})))
    play.handed.clear()
    play.accuracy = lambda run, epoch: 99 if run.number else 1
    ledger = reopen(make(methods=ONE_ARM, budget={"trials": 2, "epochs": 1, "seeds": 2}))
    assert not ledger.is_complete()
    play.all(ledger)
    # The new trial wins, so it is trained on every seed; the old winner's final is kept and not repeated.
    assert [(run.kind, run.number, run.seed) for run in play.handed] == [
        ("trial", 1, 0),
        ("final", 1, 1),
        ("final", 1, 2),
    ]
    assert ledger.is_complete()
    assert len(ledger.records()) == ledger.expected_runs == 5
    fewer = reopen(make(methods=ONE_ARM, budget={"trials": 1, "epochs": 1, "seeds": 2}))
    assert fewer.is_complete()
    assert fewer.expected_runs == 5


def test_a_changed_space_is_refused_with_the_difference(make: Make, reopen: Open, url: str) -> None:
    reopen(make())
    other = make(training={"learning_rate": {"low": 1e-3, "high": 2e-2}})
    with pytest.raises(ValueError, match="another space") as error:
        reopen(other)
    assert "training.learning_rate.high: 0.01 -> 0.02" in str(error.value)
    assert str(error.value).isprintable()
    assert read_ledger(url, "small").spec == make()


def test_other_images_are_refused_though_the_space_is_the_same(make: Make, reopen: Open) -> None:
    ledger = reopen(make())
    ledger.check_unchanged("images", "of cats")
    for images, what in (("of dogs", "other images"), ("of cats", "other weights")):
        with pytest.raises(ValueError, match=rf"started with {what} \(images -> others\)"):
            ledger.check_unchanged("others", images)


def test_a_change_of_the_data_is_named_and_not_shown_as_hashes(make: Make, reopen: Open) -> None:
    reopen(make())
    with pytest.raises(ValueError, match="started with another space") as error:
        reopen(make(data={"kind": "digits", "flip": True, "validation_fraction": 0.3}))
    assert "data.flip: False -> True" in str(error.value)
    assert "data.validation_fraction: 0.2 -> 0.3" in str(error.value)
    assert "->  others" not in str(error.value)


def test_a_study_that_was_never_started_is_refused(make: Make, reopen: Open, url: str) -> None:
    reopen(make())
    with pytest.raises(ValueError, match="no study 'smal'"):
        read_ledger(url, "smal")


def test_another_process_reads_the_records_while_the_study_runs(
    make: Make, reopen: Open, url: str, play: Any
) -> None:
    ledger = reopen(make(methods=ONE_ARM))
    play.one(ledger)
    running = next_run(ledger)
    reported(ledger, running, 12.5)
    code = (
        "import sys; from lpstudy.ledger import read_ledger\n"
        "for r in read_ledger(sys.argv[1], 'small').records():\n"
        "    print(r.assignment.key, r.state, len(r.epochs), r.last['validation_accuracy'])"
    )
    read = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    expected = [
        (record.assignment.key, record.state, str(len(record.epochs)), record.last["validation_accuracy"])
        for record in ledger.records()
    ]
    rows = [line.split() for line in read.stdout.splitlines()]
    assert [(key, state, epochs, float(last)) for key, state, epochs, last in rows] == expected
    assert [state for _, state, _, _ in rows] == ["finished", "running"]


def test_the_hyperparameter_that_decides_has_the_higher_importance(make: Make) -> None:
    arm = make(methods={"kd": {"temperature": {"low": 1.0, "high": 5.0}}}).arms()[0]
    trials = [
        ({"learning_rate": 1e-3 + rate * 1e-4, "temperature": 1.0 + (7 * rate) % 40 / 10}, 90.0 - rate)
        for rate in range(40)
    ]
    importances = hyperparameter_importances(arm, trials)
    assert sum(importances.values()) == pytest.approx(1)
    assert importances["learning_rate"] > importances["temperature"]
    assert hyperparameter_importances(arm, [(values, 90.0) for values, _ in trials]) == {}
