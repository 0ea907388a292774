"""First points from another study: whose, which values, in which order, and that they are kept."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lpstudy.ledger import (
    Assignment,
    Ledger,
    LedgerReader,
    StoredWarmStart,
    ledger_file_url,
    read_ledger,
    warm_points,
)
from lpstudy.outputs import EpochResult
from lpstudy.space import Arm, StudySpec, parse

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]

KD = "kd-convnet-d2-w4"
WIDE = {"low": 0.1, "high": 10.0}
BUDGET = {"trials": 4, "epochs": 1, "seeds": 1, "pruner": "none"}


@pytest.fixture
def url(empty_storage: Path, tmp_path: Path) -> str:
    shutil.copy(empty_storage, tmp_path)
    return ledger_file_url(tmp_path)


def arm_of(make: Make, name: str = KD, **sections: Any) -> Arm:
    return next(arm for arm in make(**sections).arms() if arm.name == name)


@pytest.fixture(scope="module")
def other(empty_storage: Path, tmp_path_factory: pytest.TempPathFactory) -> LedgerReader:
    """A study with kd twice; a final is better than all trials, and so is a trial that has failed."""
    folder = tmp_path_factory.mktemp("first")
    shutil.copy(empty_storage, folder)
    table = {
        "name": "first",
        "data": {"kind": "digits"},
        "teacher": {"family": "convnet", "depth": 2, "width": 8},
        "students": [{"family": "convnet", "depth": 2, "width": 4}],
        "methods": {"bp": {}, "kd": {"weight": WIDE}, "kd_low": {"method": "kd", "weight": 0.5}},
        "training": {"learning_rate": {"low": 1e-3, "high": 1e-2}},
        "budget": BUDGET,
        "search": {"sampler": "random"},
        "finals": {"candidates": 1},
    }
    ledger = Ledger(ledger_file_url(folder), parse(table, "here"), input_shape=(1, 8, 8), classes=10)
    ledger.check_unchanged("images")
    has_failed = False
    while isinstance(run := ledger.next(), Assignment):
        fails = run.arm == KD and not has_failed
        has_failed = has_failed or fails
        accuracy = 99.0 if run.kind == "final" else 98.0 if fails else 50 + float(run.values.get("weight", 0))
        ledger.report(run, [EpochResult(1, {"validation_accuracy": accuracy})])
        ledger.finish(run, *(("failed", "its process died") if fails else ("finished",)))
    return read_ledger(ledger_file_url(folder), "first")


def trials(ledger: LedgerReader, arm: str) -> list[dict[str, Any]]:
    """The values of an arm's finished trials, the best on validation first."""
    records = [
        one
        for one in ledger.records()
        if (one.assignment.arm, one.assignment.kind, one.state) == (arm, "trial", "finished")
    ]
    records.sort(key=lambda one: one.last["validation_accuracy"], reverse=True)
    return [dict(one.assignment.values) for one in records]


def test_the_best_trials_on_validation_are_taken(make: Make, other: LedgerReader) -> None:
    found = warm_points(arm_of(make, methods={"bp": {}, "kd": {"weight": WIDE}}), other, top=3)
    assert list(found.points) == trials(other, KD)[:3]
    assert found.notes == ()


def test_what_is_not_searched_is_left_out_and_what_is_outside_is_said(
    make: Make, other: LedgerReader
) -> None:
    best = trials(other, KD)[:2]
    middle = sum(point["weight"] for point in best) / 2
    methods = {"bp": {}, "kd": {"weight": {"low": 0.1, "high": middle}}}
    arm = arm_of(
        make, methods=methods, training={"learning_rate": 0.01, "weight_decay": WIDE | {"high": 0.5}}
    )
    found = warm_points(arm, other, top=1)
    assert list(found.points) == [{"weight": best[1]["weight"]}]
    arm = arm_of(make, methods=methods)
    found = warm_points(arm, other, top=2)
    assert list(found.points) == [{"learning_rate": best[0]["learning_rate"]}, best[1]]
    assert found.notes == (f"{KD}: one value of weight skipped, as not in {arm.searched['weight']}",)


def test_the_same_table_comes_before_the_same_method(make: Make, other: LedgerReader) -> None:
    kd = {"method": "kd", "weight": WIDE}
    low = arm_of(make, "kd_low-convnet-d2-w4", methods={"kd_low": kd})
    assert list(warm_points(low, other, top=9).points) == trials(other, "kd_low-convnet-d2-w4")
    mine = arm_of(make, "mine-convnet-d2-w4", methods={"mine": kd})
    both = trials(other, KD)[:1] + trials(other, "kd_low-convnet-d2-w4")
    assert list(warm_points(mine, other, top=1).points) == both[:1]


def test_an_arm_without_a_match_has_none_and_that_is_said(make: Make, other: LedgerReader) -> None:
    lp = arm_of(make, "lp-convnet-d2-w4", methods={"lp": {"n_neighbors": 3}})
    assert warm_points(lp, other, top=3).notes == ("lp-convnet-d2-w4: first has no such arm",)
    students = [{"family": "wrn", "depth": 10, "width": 1}]
    assert warm_points(make(students=students).arms()[0], other, top=3).points == ()


def test_the_sampler_does_not_suggest_the_other_studys_points_again(
    make: Make, reopen: Open, play: Any, other: LedgerReader
) -> None:
    methods = {"bp": {}, "kd": {"weight": WIDE}}
    ledger = reopen(make(methods=methods, budget=BUDGET, search={"sampler": "random"}))
    last = dict(
        other.records()[[one.assignment.arm for one in other.records()].index(KD) + 3].assignment.values
    )
    ledger.set_first_points(StoredWarmStart(study="first", points={KD: [last]}))
    play.all(ledger)
    values = [dict(run.values) for run in play.handed if (run.arm, run.kind) == (KD, "trial")]
    assert values[0] == last
    assert len(values) == 4
    assert last not in values[1:]


def test_they_follow_the_files_own_points_and_are_kept(
    make: Make, reopen: Open, play: Any, other: LedgerReader
) -> None:
    own = {"weight": 3.25}
    methods = {"bp": {}, "kd": {"weight": WIDE, "start": [own]}}
    spec = make(methods=methods, budget=BUDGET, search={"sampler": "random"})
    arm = arm_of(make, methods=methods)
    points = [dict(point) for point in warm_points(arm, other, top=2).points]
    ledger = reopen(spec)
    ledger.set_first_points(StoredWarmStart(study="first", points={KD: points}))
    play.handed.clear()
    for _ in range(3):
        play.one(reopen(spec))  # each process reads them from the ledger
        play.one(reopen(spec))
    handed = [dict(run.values) for run in play.handed if run.arm == KD]
    assert handed[0]["weight"] == 3.25
    assert handed[1:] == points
