"""The assignments of a search, before and after a kill."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import optuna
import pytest

from lpstudy.cost import cost_of
from lpstudy.ledger import Assignment, Done, Ledger, Waiting, open_storage
from lpstudy.ledger import ledger as module
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]

SIZES = [{"family": "convnet", "depth": 2, "width": {"choices": [2, 4, 8, 64]}}]
TWO_TRIALS = {"trials": 2, "epochs": 1, "seeds": 1}


def accuracy(percent: float, epoch: int = 1) -> EpochResult:
    return EpochResult(epoch, {"validation_accuracy": percent})


def test_every_arm_gets_as_many_trials_and_none_runs_ahead(make: Make, reopen: Open, play: Any) -> None:
    ledger = reopen(make())
    play.all(ledger)
    trials = [run.arm for run in play.handed if run.kind == "trial"]
    assert Counter(trials) == {"bp-convnet-d2-w4": 3, "kd-convnet-d2-w4": 3}
    assert all(len(set(pair)) == 2 for pair in zip(trials[::2], trials[1::2], strict=True))
    assert ledger.is_complete()


def test_values_lie_within_their_ranges_and_differ(make: Make, reopen: Open, play: Any) -> None:
    play.all(reopen(make()))
    rates = [run.values["learning_rate"] for run in play.handed if run.kind == "trial"]
    assert all(1e-3 <= rate <= 1e-2 for rate in rates)
    assert len(set(rates)) == len(rates)


def test_what_ran_at_a_kill_is_handed_out_first_as_another_attempt(make: Make, reopen: Open) -> None:
    spec = make()
    ledger = reopen(spec)
    killed = [ledger.next(), ledger.next()]
    for attempt in (2, 3):
        ledger = reopen(spec)
        again = [ledger.next(), ledger.next()]
        for before, after in zip(killed, again, strict=True):
            assert isinstance(before, Assignment)
            assert isinstance(after, Assignment)
            assert (after.key, after.values, after.storage_id) == (
                before.key,
                before.values,
                before.storage_id,
            )
            assert after.attempt == attempt


def test_a_finished_trial_is_never_handed_out_again(make: Make, reopen: Open, play: Any) -> None:
    spec = make()
    while not isinstance(play.one(reopen(spec)), Done):
        pass
    keys = [run.key for run in play.handed]
    assert len(set(keys)) == len(keys) == 2 * (3 + 2)
    assert {run.attempt for run in play.handed} == {1}


def test_no_suggestion_comes_twice_though_each_is_asked_for_by_a_new_process(
    make: Make, reopen: Open, play: Any
) -> None:
    spec = make(methods={"bp": {}}, budget={"trials": 6, "epochs": 1, "seeds": 1})
    for _ in range(6):
        play.one(reopen(spec))
    assert len({run.values["learning_rate"] for run in play.handed}) == 6


def test_epochs_reported_again_after_a_kill_are_kept_once(make: Make, reopen: Open) -> None:
    spec = make(budget={"trials": 1, "epochs": 3, "seeds": 1})
    ledger = reopen(spec)
    run = ledger.next()
    assert isinstance(run, Assignment)
    ledger.report(run, [accuracy(50)])
    ledger.report(run, [accuracy(60, 2)])
    ledger = reopen(spec)
    run = ledger.next()
    assert isinstance(run, Assignment)
    for epoch, percent in ((1, 1.0), (2, 1.0), (3, 70.0)):  # whichever values they repeat
        ledger.report(run, [accuracy(percent, epoch)])
    ledger.finish(run, "finished")
    record = ledger.record(run)
    assert record.state == "finished"
    assert [(row.epoch, row.metrics["validation_accuracy"]) for row in record.epochs] == [
        (1, 50),
        (2, 60),
        (3, 70),
    ]


def test_what_a_repeated_epoch_warns_of_is_reported_with_the_next_one(make: Make, reopen: Open) -> None:
    spec = make(budget={"trials": 1, "epochs": 4, "seeds": 1})
    ledger = reopen(spec)
    run = ledger.next()
    assert isinstance(run, Assignment)
    ledger.report(run, [accuracy(50), replace(accuracy(60, 2), warnings=("collapse",))])
    ledger = reopen(spec)
    run = ledger.next()
    assert isinstance(run, Assignment)
    ledger.report(run, [replace(accuracy(50), warnings=("checkpoint-000002 is refused",))])
    ledger.report(run, [replace(accuracy(60, 2), warnings=("collapse",)), accuracy(70, 3)])
    ledger.report(run, [accuracy(80, 4)])
    warnings = [row.warnings for row in ledger.record(run).epochs]
    assert warnings == [(), ("collapse",), ("checkpoint-000002 is refused",), ()]


def test_infeasible_designs_are_reported_and_neither_counted_nor_run(
    make: Make, reopen: Open, url: str, play: Any
) -> None:
    small = make(students=SIZES).arms()[0]
    limit = cost_of(small.student_spec({"width": 8}), input_shape=(1, 8, 8), classes=10).macs
    spec = make(
        students=SIZES,
        methods={"bp": {}},
        constraints={"max_macs": limit},
        budget={"trials": 6, "epochs": 1, "seeds": 1},
    )
    ledger = reopen(spec)
    play.all(ledger)
    trials = [run for run in play.handed if run.kind == "trial"]
    assert len(trials) == 6
    assert {run.values["width"] for run in trials} <= {2, 4, 8}
    records = ledger.records()
    infeasible = [record for record in records if record.state == "infeasible"]
    assert infeasible
    assert all(record.assignment.values["width"] == 64 for record in infeasible)
    assert all(record.epochs == () for record in infeasible)
    assert len(records) - len(infeasible) == ledger.expected_runs == 7
    study = optuna.load_study(study_name="small/bp-convnet", storage=open_storage(url))
    assert {study.trials[record.assignment.number].state.name for record in infeasible} == {"PRUNED"}


def test_an_arm_without_a_feasible_design_is_given_up_and_the_others_continue(
    make: Make, reopen: Open, play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SUGGESTIONS", 4)
    sizes = [*SIZES, {"family": "maxout", "depth": {"low": 3, "high": 4}, "width": 64}]
    limit = cost_of(
        make(students=SIZES).arms()[0].student_spec({"width": 64}), input_shape=(1, 8, 8), classes=10
    )
    spec = make(students=sizes, methods={"bp": {}}, budget=TWO_TRIALS, constraints={"max_macs": limit.macs})
    ledger = reopen(spec)
    play.all(ledger)
    assert ledger.exhausted_arms == {"bp-maxout"}
    assert {run.arm for run in play.handed} == {"bp-convnet"}
    assert ledger.is_complete()
    assert ledger.expected_runs == len(play.handed) == 3
    assert isinstance(reopen(spec).next(), Done)


def test_an_arm_with_searched_sizes_has_accuracy_and_macs_as_objectives(
    make: Make, reopen: Open, url: str, play: Any
) -> None:
    spec = make(students=SIZES, methods={"bp": {}}, budget=TWO_TRIALS)
    ledger = reopen(spec)
    play.all(ledger)
    study = optuna.load_study(study_name="small/bp-convnet", storage=open_storage(url))
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    for run in play.handed[:2]:
        student = spec.arms()[0].student_spec(run.values)
        macs = cost_of(student, input_shape=(1, 8, 8), classes=10).macs
        assert study.trials[run.number].values == [play.accuracy(run, 1), macs]


def test_no_trial_is_started_after_the_hours_but_finals_are(make: Make, reopen: Open, play: Any) -> None:
    ledger = reopen(make(methods={"bp": {}}))
    unfinished = ledger.next()
    assert isinstance(ledger.next(searching=False), Waiting)
    assert isinstance(unfinished, Assignment)
    play.run(ledger, unfinished)
    finals = [play.one(ledger, searching=False) for _ in range(3)]
    assert [getattr(run, "kind", None) for run in finals] == ["final", "final", None]
    assert isinstance(finals[-1], Done)
    assert not ledger.is_complete()


def test_trials_are_numbered_in_the_order_they_are_handed_out(make: Make, reopen: Open, play: Any) -> None:
    play.all(reopen(make(methods={"bp": {}})))
    numbers = [run.number for run in play.handed if run.kind == "trial"]
    assert all(after == before + 1 for before, after in pairwise(numbers))


def test_a_ledger_of_another_format_is_refused_in_one_line(make: Make, reopen: Open) -> None:
    reopen(make()).set_fact("format", 1)
    with pytest.raises(ValueError, match=r"another version of lpstudy \(format 1, .* --fresh") as refused:
        reopen(make())
    assert str(refused.value).isprintable()
