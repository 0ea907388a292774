"""Arms with few points in their search space: no trial repeats another."""

import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from lpstudy.command.budget_notes import budget_notes, unused_trials_note
from lpstudy.command.overview import make_overview
from lpstudy.cost import cost_of
from lpstudy.ledger import Assignment, Done, Ledger, open_storage, read_ledger, samplers
from lpstudy.outputs import EpochResult
from lpstudy.space import Range, StudySpec

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]

ARM = "bp-convnet-d2-w4"
ONE_ARM = {"bp": {}}
FIXED = {"learning_rate": 0.01}


def budget(trials: int, seeds: int = 1) -> dict[str, int]:
    return {"trials": trials, "epochs": 1, "seeds": seeds}


def searched_values(play: Any) -> list[dict[str, object]]:
    return [dict(run.values) for run in play.handed if run.kind == "trial"]


def flat(run: Assignment, epoch: int) -> float:
    return 50.0 + run.number


@pytest.mark.parametrize(
    ("training", "points"),
    [
        ({"learning_rate": 0.01}, 1),
        ({"learning_rate": {"low": 0.01, "high": 0.01}}, 1),
        ({"learning_rate": {"low": 0.1, "high": 0.5, "step": 0.1}}, 5),
        ({"learning_rate": {"choices": [0.1, 0.2]}, "batch_size": {"low": 8, "high": 10}}, 6),
        ({"batch_size": {"low": 8, "high": 64, "step": 8}}, 8),
        ({"batch_size": {"low": 8, "high": 10, "log": True}}, 3),
        ({"learning_rate": {"low": 0.1, "high": 0.5}, "batch_size": {"choices": [8, 16]}}, None),
    ],
)
def test_different_points_are_counted(training: dict[str, Any], points: int | None, make: Make) -> None:
    assert make(training=training).arms()[0].points == points


def test_the_values_of_a_stepped_range_are_those_that_the_file_writes() -> None:
    assert Range(low=0.1, high=0.7, step=0.1).count(integer=False) == 7
    assert Range(low=0.0, high=0.0, step=0.1).count(integer=False) == 1


def test_an_arm_without_a_choice_has_one_trial(make: Make, reopen: Open, play: Any, url: str) -> None:
    play.accuracy = flat
    spec = make(methods=ONE_ARM, training=FIXED, budget=budget(3, 2))
    ledger = reopen(spec)
    assert (ledger.expected_runs, ledger.trial_limit(ARM)) == (3, 1)
    play.all(ledger)
    assert [(run.kind, run.seed) for run in play.handed] == [("trial", 0), ("final", 1), ("final", 2)]
    assert ledger.is_complete()
    assert ledger.expected_runs == len(ledger.records()) == 3
    storage = open_storage(url)
    arms = make_overview(read_ledger(url, "small"), storage.engine, "small").arms
    lines = [arm.to_json() for arm in arms]
    assert [(line["kind"], line["finished"], line["left"]) for line in lines] == [
        ("trial", 1, 0),
        ("final", 2, 0),
    ]
    assert isinstance(reopen(make(methods=ONE_ARM, training=FIXED, budget=budget(9, 2))).next(), Done)


@pytest.mark.parametrize(
    "training",
    [
        {"learning_rate": {"choices": [0.1, 0.01, 0.001]}, "optimizer": {"choices": ["adam", "sgd"]}},
        {"learning_rate": {"low": 0.1, "high": 0.6, "step": 0.1}},
        {"batch_size": {"low": 8, "high": 13}},
    ],
)
def test_a_finite_space_is_tried_once_whole_however_large_the_budget(
    training: dict[str, Any], make: Make, reopen: Open, play: Any
) -> None:
    play.accuracy = flat
    few = make(methods=ONE_ARM, training=training, budget=budget(4))
    play.all(reopen(few))
    ledger = reopen(make(methods=ONE_ARM, training=training, budget=budget(50)))
    assert not ledger.is_complete()
    play.all(ledger)
    points = searched_values(play)
    assert len(points) == len({tuple(point.items()) for point in points}) == 6
    assert ledger.is_complete()
    assert ledger.expected_runs == len(ledger.records())


def test_trials_that_run_at_once_are_different(make: Make, reopen: Open) -> None:
    training = {"learning_rate": {"choices": [0.1, 0.01, 0.001]}}
    ledger = reopen(make(methods=ONE_ARM, training=training, budget=budget(8)))
    runs = [ledger.next() for _ in range(3)]
    assert {run.values["learning_rate"] for run in runs if isinstance(run, Assignment)} == {0.1, 0.01, 0.001}


def test_a_large_finite_space_has_no_point_twice(make: Make, reopen: Open, play: Any) -> None:
    play.accuracy = lambda run, epoch: 90 - abs(float(run.values["batch_size"]) - 70) / 10
    training = {
        "batch_size": {"low": 2, "high": 90},
        "weight_decay": {"low": 0.0, "high": 0.99, "step": 0.01},
    }
    play.all(reopen(make(methods=ONE_ARM, training=training, budget=budget(40))))
    points = searched_values(play)
    assert len({tuple(point.items()) for point in points}) == len(points) == 40


def test_a_budget_beyond_the_points_is_said_and_offered_to_seeds(make: Make, reopen: Open) -> None:
    training = {"learning_rate": {"choices": [0.1, 0.01]}}
    kd = {"weight": {"low": 0.1, "high": 1.0}}
    spec = make(methods={"bp": {}, "kd": kd}, training=training, budget=budget(7, 3))
    assert list(budget_notes(reopen(spec), spec.budget)) == [
        f"{ARM}: its search space has 2 points, each tried once; of 7 trials 5 would repeat another and are"
        " not run. More seeds use such time better: --seeds 8"
    ]
    assert unused_trials_note("a", 1, spec.budget.model_copy(update={"trials": 2})) == (
        "a: its search space has one point, tried once; of 2 trials 1 would repeat another and is not"
        " run. More seeds use such time better: --seeds 4"
    )
    assert unused_trials_note("a", 7, spec.budget) == ""


def test_reading_the_test_set_again_is_said(make: Make, reopen: Open, play: Any) -> None:
    play.accuracy = flat
    few = make(methods=ONE_ARM, budget=budget(2))
    ledger = reopen(few)
    assert list(budget_notes(ledger, few.budget)) == []
    play.all(ledger)
    assert list(budget_notes(ledger, few.budget)) == []
    more = reopen(make(methods=ONE_ARM, budget=budget(3)))
    ahead = "the finals have read the test set already"
    assert [note[: len(ahead)] for note in budget_notes(more, more.spec.budget)] == [ahead]
    play.all(more)
    (note,) = budget_notes(more, more.spec.budget)
    assert note.startswith(f"{ARM}: the test set was read for 2 winners in turn (trials 1, 2)")
    seeds = reopen(make(methods=ONE_ARM, budget=budget(3, 5)))
    assert list(budget_notes(seeds, seeds.spec.budget)) == [note]


def test_designs_beyond_the_limits_are_no_points(make: Make, reopen: Open, play: Any) -> None:
    play.accuracy = flat
    sizes = [{"family": "convnet", "depth": 2, "width": {"choices": [2, 4, 8, 64]}}]
    arm = make(students=sizes).arms()[0]
    limit = cost_of(arm.student_spec({"width": 8}), input_shape=(1, 8, 8), classes=10).macs
    spec = make(
        students=sizes, methods=ONE_ARM, training=FIXED, constraints={"max_macs": limit}, budget=budget(9)
    )
    ledger = reopen(spec)
    assert ledger.expected_runs == 4
    play.all(ledger)
    assert sorted(int(str(point["width"])) for point in searched_values(play)) == [2, 4, 8]
    assert ledger.is_complete()


def test_a_point_whose_process_died_may_be_tried_again(make: Make, reopen: Open) -> None:
    spec = make(methods=ONE_ARM, training=FIXED, budget=budget(3))
    ledger = reopen(spec)
    states = []
    for cause in ("its process died", "nan: loss is nan in epoch 1"):
        run = ledger.next()
        assert isinstance(run, Assignment)
        ledger.finish(run, "failed", cause)
        states.append(ledger.record(run).state)
    assert states == ["failed", "failed"]
    assert isinstance(ledger.next(), Done)
    assert ledger.is_complete()
    assert ledger.expected_runs == len(ledger.records()) == 2


@pytest.mark.parametrize("cause", ["nan: loss is nan in epoch 2", "oom: tried to allocate 9 GiB"])
def test_the_sampler_learns_from_what_the_hyperparameters_broke(
    cause: str, make: Make, reopen: Open, url: str
) -> None:
    spec = make(methods=ONE_ARM, budget={"trials": 3, "epochs": 2, "seeds": 1})
    ledger = reopen(spec)
    for end in (cause, "its process died", None):
        run = ledger.next()
        assert isinstance(run, Assignment)
        ledger.report(run, [EpochResult(1, {"validation_accuracy": 99.0 if end else 1.0})])
        if end is None:
            ledger.report(run, [EpochResult(2, {"validation_accuracy": 1.0})])
        ledger.finish(run, "failed" if end else "finished", end)
    broken, interrupted, done = reopen(spec).records()
    assert [(r.state, r.cause) for r in (broken, interrupted)] == [
        ("failed", cause),
        ("failed", "its process died"),
    ]
    study = optuna.load_study(study_name=f"small/{ARM}", storage=open_storage(url))
    # TPE reads complete and pruned trials alone; of those, infeasible ones are the worst there are.
    assert [trial.state.name for trial in study.trials] == ["PRUNED", "FAIL", "COMPLETE"]
    assert study.trials[0].constraints == {"failed": 1.0}
    assert study.best_trial.number == done.assignment.number
    final = reopen(spec).next()
    assert isinstance(final, Assignment)
    assert (final.kind, final.number) == ("final", done.assignment.number)


def diverged(ledger: Ledger, cause: str) -> int:
    """The number of the last 25 of 40 trials beyond a cliff, up to which a larger value is better."""
    beyond = []
    for _ in range(40):
        run = ledger.next()
        assert isinstance(run, Assignment)
        rate = float(run.values["learning_rate"])
        beyond.append(rate > 0.1)
        if beyond[-1]:
            ledger.finish(run, "failed", cause)
        else:
            ledger.report(run, [EpochResult(1, {"validation_accuracy": 90 + 10 * math.log10(rate)})])
            ledger.finish(run, "finished")
    return sum(beyond[15:])


def test_tpe_goes_less_often_where_trials_diverged(make: Make, reopen: Open) -> None:
    training = {"learning_rate": {"low": 1e-3, "high": 1.0, "log": True}}
    spec = make(methods=ONE_ARM, training=training, budget=budget(40))
    learnt = diverged(reopen(spec), "nan: loss is nan in epoch 1")
    untold = diverged(reopen(spec.model_copy(update={"name": "other"})), "its process died")
    assert learnt < 0.75 * untold


def test_suggestions_are_those_of_multivariate_tpe_with_a_constant_liar(make: Make) -> None:
    spec = make(
        methods={"kd": {"weight": {"low": 0.1, "high": 1.0}}},
        training={"learning_rate": {"low": 1e-3, "high": 1e-2}},
        budget={"trials": 12, "epochs": 1, "seeds": 1},
    )
    arm = spec.arms()[0]
    spaces = {key: samplers.distribution(arm, key, space) for key, space in arm.searched.items()}

    def suggestion(sampler: optuna.samplers.BaseSampler) -> dict[str, Any]:
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for n in range(12):
            values = {"learning_rate": 1e-3 + n * 5e-4, "weight": 0.1 + (n * 7 % 12) / 20}
            running = {"state": optuna.trial.TrialState.RUNNING} if n % 2 else {"value": float(n)}
            study.add_trial(optuna.trial.create_trial(params=values, distributions=spaces, **running))
        return study.ask(spaces).params

    failed = optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL)
    ours = suggestion(samplers.sampler(arm, spec, [failed] * 12))
    kwargs = {"seed": samplers.seed_of(arm, 12), "n_startup_trials": 4}
    oracle = {
        (together, liar): suggestion(
            optuna.samplers.TPESampler(multivariate=together, constant_liar=liar, **kwargs)
        )
        for together in (True, False)
        for liar in (True, False)
    }
    assert ours == oracle[True, True]
    assert all(ours != other for kind, other in oracle.items() if kind != (True, True))
