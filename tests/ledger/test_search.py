"""Samplers and first points: what the trials of an arm get."""

from collections.abc import Callable
from typing import Any

import optuna
import pytest

from lpstudy.ledger import Assignment, Ledger
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]

ARM = "kd-convnet-d2-w4"
KD = {"weight": {"low": 0.1, "high": 20.0, "log": True}, "temperature": {"choices": [1.0, 4.0]}}
RATE = {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}, "batch_size": {"low": 8, "high": 64}}
SAMPLERS = ("tpe", "gp", "qmc", "random")


def budget(trials: int, **more: object) -> dict[str, object]:
    return {"trials": trials, "epochs": 1, "seeds": 1} | more


def values_of(play: Any) -> list[dict[str, Any]]:
    return [dict(run.values) for run in play.handed if run.kind == "trial"]


def by_weight(run: Assignment, epoch: int) -> float:
    return 90 - abs(float(run.values.get("weight", 3)) - 3)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_that_stops_after_each_trial_gets_the_same_points(
    sampler: str, make: Make, reopen: Open, play: Any
) -> None:
    play.accuracy = by_weight
    spec = make(methods={"kd": KD}, training=RATE, search={"sampler": sampler}, budget=budget(7))
    play.all(reopen(spec))
    undisturbed = values_of(play)
    assert len({str(point) for point in undisturbed}) == 7
    for point in undisturbed:
        assert 0.1 <= point["weight"] <= 20
        assert point["temperature"] in (1.0, 4.0)
        assert 1e-3 <= point["learning_rate"] <= 1e-1
        assert point["batch_size"] in range(8, 65)
    play.handed.clear()
    other = spec.model_copy(update={"name": "other"})
    while isinstance(play.one(reopen(other)), Assignment):
        pass
    assert values_of(play) == undisturbed


def test_a_sobol_sequence_has_one_point_in_each_of_equal_parts(make: Make, reopen: Open, play: Any) -> None:
    play.accuracy = by_weight
    search, rate = {"sampler": "qmc"}, {"learning_rate": {"low": 0.0625, "high": 0.125}}
    play.all(reopen(make(methods={"bp": {}}, training=rate, search=search, budget=budget(8))))
    parts = [int((point["learning_rate"] - 0.0625) / 0.0625 * 8) for point in values_of(play)]
    assert sorted(parts) == [*range(8)]


def test_the_first_points_come_first_and_the_sampler_completes_them(
    make: Make, reopen: Open, play: Any
) -> None:
    play.accuracy = by_weight
    start = [{"weight": 9.0, "temperature": 4.0}, {"learning_rate": 0.05}]
    methods = {"bp": {}, "kd": {**KD, "start": start}}
    play.all(reopen(make(methods=methods, training=RATE, budget=budget(4))))
    first, second, *later = [
        dict(run.values) for run in play.handed if run.kind == "trial" and run.arm == ARM
    ]
    assert (first["weight"], first["temperature"], second["learning_rate"]) == (9.0, 4.0, 0.05)
    assert all(point["weight"] != 9.0 for point in (second, *later))
    assert {*first} == {"weight", "temperature", "learning_rate", "batch_size"}


def test_a_first_point_of_a_finite_space_is_not_suggested_again(make: Make, reopen: Open, play: Any) -> None:
    play.accuracy = by_weight
    kd = {"weight": {"choices": [1.0, 2.0, 9.0]}, "start": [{"weight": 9.0}]}
    play.all(reopen(make(methods={"kd": kd}, training={"learning_rate": 0.01}, budget=budget(5))))
    points = [point["weight"] for point in values_of(play)]
    assert points[0] == 9.0
    assert sorted(points) == [1.0, 2.0, 9.0]


def test_a_first_point_whose_run_failed_by_the_machine_is_run_again(make: Make, reopen: Open) -> None:
    kd = {**KD, "start": [{"weight": 9.0}]}
    ledger = reopen(make(methods={"kd": kd}, training=RATE, budget=budget(4)))
    for _ in range(2):
        run = ledger.next()
        assert isinstance(run, Assignment)
        assert run.values["weight"] == 9.0
        ledger.finish(run, "failed", "lost: the node died")


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        ([{"weight": 30.0}], "start.0.weight: must be one of 0.1 to 20, log but got 30.0"),
        ([{"weight": 1.0}, {"weight": "much"}], "start.1.weight: must be a number but got 'much'"),
        ([{"temperature": 2.0}], "start.0.temperature: must be one of 1.0, 4.0 but got 2.0"),
        ([{"optimizer": "sgd"}], "start.0.optimizer: is not searched; the arm searches"),
        ([{"weight": 1.0}, {"weight": 1.0}], "start.1: is given twice"),
        ([{}], "start.0: must have a hyperparameter"),
        ([3], "start: must be a list of tables"),
        ([{"weight": {"low": 1}}], "start.0.weight: must be a plain value"),
        ([{"batch_size": 9.5}], "start.0.batch_size: must be a whole number but got 9.5"),
    ],
)
def test_a_first_point_outside_the_search_space_is_refused_in_one_line(
    start: object, problem: str, make: Make
) -> None:
    with pytest.raises(ValueError, match="kd") as error:
        make(methods={"kd": {**KD, "start": start}}, training=RATE)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


FINISHED, PRUNED = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
CURVES = [
    [start + gain * epoch for epoch in range(9)]
    for start, gain in ((50, 1), (40, 2), (60, 0.5), (55, 0.2), (20, 1), (58, 1), (61, 0.4), (30, 3))
]


def test_hyperband_prunes_what_optuna_prunes_in_one_process(make: Make, reopen: Open) -> None:
    spec = make(methods={"bp": {}}, budget={"trials": 8, "epochs": 9, "seeds": 1, "pruner": "hyperband"})
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=3)
    plain = optuna.create_study(study_name="small/bp-convnet-d2-w4", direction="maximize")
    expected, actual = [], []
    ledger = reopen(spec)
    for curve in CURVES:
        trial = plain.ask()
        for epoch, accuracy in enumerate(curve, 1):
            trial.report(accuracy, epoch)
            if epoch < 9 and pruner.prune(plain, plain.get_trials()[-1]):
                break
        expected.append(epoch)
        plain.tell(trial, state=FINISHED, values=[curve[8]]) if epoch == 9 else plain.tell(
            trial, state=PRUNED
        )
        run = ledger.next()
        assert isinstance(run, Assignment)
        assert ledger.rungs(run) == (1, 3)
        for epoch, accuracy in enumerate(curve, 1):
            if ledger.report(run, [EpochResult(epoch, {"validation_accuracy": accuracy})]):
                break
        ledger.finish(run, "finished" if epoch == 9 else "pruned")
        actual.append(epoch)
        ledger = reopen(spec)
    assert actual == expected
    assert {*actual} >= {1, 9}
