"""A ledger in Optuna's own tools, such as optuna-dashboard."""

from collections.abc import Callable
from typing import Any

import optuna
import pytest

from lpstudy.ledger import Assignment, Ledger, open_storage
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]

SIZES = [{"family": "convnet", "depth": 2, "width": {"choices": [2, 4, 8]}}]


def loaded(url: str, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=open_storage(url))


def test_objectives_have_names(make: Make, reopen: Open, url: str) -> None:
    reopen(make())
    assert loaded(url, "small/bp-convnet-d2-w4").metric_names == ["validation accuracy in %"]
    assert loaded(url, "small/bp-convnet-d2-w4/finals").metric_names == ["validation accuracy in %"]
    reopen(make(name="sizes", students=SIZES))
    assert loaded(url, "sizes/bp-convnet").metric_names == ["validation accuracy in %", "MACs"]


def test_every_epoch_of_every_run_is_an_intermediate_value(
    make: Make, reopen: Open, play: Any, url: str
) -> None:
    budget = {"trials": 2, "epochs": 4, "seeds": 1, "pruner": "median"}  # which looks from the middle on
    play.all(reopen(make(budget=budget)))
    for name in ("small/kd-convnet-d2-w4", "small/kd-convnet-d2-w4/finals"):
        for trial in loaded(url, name).trials:
            assert list(trial.intermediate_values) == [1, 2, 3, 4]
            assert trial.intermediate_values[4] == pytest.approx(trial.value)


def test_epochs_reported_in_parts_and_again_are_there_once(make: Make, reopen: Open, url: str) -> None:
    spec = make(budget={"trials": 1, "epochs": 3, "seeds": 1})
    ledger = reopen(spec)
    run = ledger.next()
    assert isinstance(run, Assignment)
    ledger.report(run, [EpochResult(n, {"validation_accuracy": 50.0 + n}) for n in (1, 2)])
    ledger = reopen(spec)
    next_run = ledger.next()
    assert isinstance(next_run, Assignment)
    ledger.report(next_run, [EpochResult(n, {"validation_accuracy": 50.0 + n}) for n in (1, 2, 3)])
    (trial,) = loaded(url, "small/bp-convnet-d2-w4").trials
    assert trial.intermediate_values == {1: 51.0, 2: 52.0, 3: 53.0}
