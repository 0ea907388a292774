"""Back-prop that spends another method's compute on longer training: its epochs, counted by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import call, write_study

from lpstudy import plan, sweep
from lpstudy.ledger import Assignment, Ledger, ledger_file_url, read_ledger
from lpstudy.outputs import EpochResult
from lpstudy.space import arm_definitions, changed_arms, parse, parse_stored

LONG = ("[methods.bp]", '[methods.bp]\n[methods.kd]\n[methods.bp_long]\nmethod = "bp"\ncompute_of = "kd"')
EPOCHS = ("epochs = 2\n", "epochs = 4\n")
# Convolutions of 3 x 3 at 8 x 8 and 4 x 4 pixels and a linear layer: 1 -> 2 -> 4 -> 10 and 1 -> 4 -> 8 -> 10.
STUDENT = 64 * 9 * 2 + 16 * 9 * 2 * 4 + 4 * 10
TEACHER = 64 * 9 * 4 + 16 * 9 * 4 * 8 + 8 * 10


def table(**methods: Mapping[str, object]) -> dict[str, Any]:
    return {
        "name": "long",
        "data": {"kind": "digits"},
        "teacher": {"family": "convnet", "depth": 2, "width": 4},
        "students": [{"family": "convnet", "depth": 2, "width": 2}],
        "methods": methods,
        "budget": {"trials": 9, "epochs": 8, "seeds": 1, "pruner": "halving"},
        "finals": {"candidates": 1},
    }


BP_LONG = {"method": "bp", "compute_of": "kd"}


def test_epochs_are_those_of_equal_training_macs_with_the_teachers_share(tmp_path: Path) -> None:
    write_study(tmp_path, LONG, EPOCHS)
    planned = call(plan.main, tmp_path, "tiny.toml", "--untimed")
    assert planned.code == 0, planned.err
    # kd: the student forward and backward in 4 epochs, and one view that the bank has computed once.
    epochs = round((4 * 3 * STUDENT + TEACHER) / (3 * STUDENT))
    assert epochs == 5
    words = f"bp_long-convnet-d2-w2: {epochs} epochs, the training MACs of 4 epochs of kd with its share"
    assert words in planned.out
    result = call(sweep.main, tmp_path, "tiny.toml", "--in-process")
    assert result.code == 0, result.err
    reader = read_ledger(ledger_file_url(tmp_path / "studies/tiny"), "tiny")
    runs = {record.assignment.arm: record for record in reader.records() if record.assignment.kind == "final"}
    assert {arm: len(run.epochs) for arm, run in runs.items()} == {
        "bp-convnet-d2-w2": 4, "kd-convnet-d2-w2": 4, "bp_long-convnet-d2-w2": 5
    }  # fmt: skip
    macs = {arm.partition("-")[0]: run.last["training_macs"] for arm, run in runs.items()}
    assert abs(macs["bp_long"] - macs["kd"]) <= macs["bp"] / 4 / 2  # half an epoch
    report = (tmp_path / "reports/tiny/report.md").read_text()
    assert "`bp_long` is `bp` for 5 instead of 4 epochs" in report
    again = call(sweep.main, tmp_path, "tiny.toml", "--in-process")
    assert "is finished; rewriting its report" in again.err, again.err


def test_a_run_of_such_an_arm_ends_after_its_own_epochs_and_has_its_own_rungs(tmp_path: Path) -> None:
    spec = parse_stored(table(bp={}, kd={}, bp_long=BP_LONG | {"epochs": {"convnet-d2-w2": 24}}), "test")
    ledger = Ledger(ledger_file_url(tmp_path), spec, input_shape=(1, 8, 8), classes=10)
    ledger.check_unchanged("images")
    runs = {run.arm: run for _ in range(3) if isinstance(run := ledger.next(), Assignment)}
    long, short = runs["bp_long-convnet-d2-w2"], runs["bp-convnet-d2-w2"]
    assert ledger.rungs(short) == (1, 4)
    assert ledger.rungs(long) == (3, 12)
    accuracies = [EpochResult(epoch, {"validation_accuracy": 50.0}) for epoch in range(1, 25)]
    for run in (long, short):
        ledger.report(run, accuracies[:8])
        ledger.finish(run, "finished")
    assert [ledger.record(run).state for run in (short, long)] == ["finished", "failed"]
    assert ledger.record(long).cause == "ended after 8 of 24 epochs"


def test_the_epochs_are_no_change_of_the_study_file() -> None:
    plain = parse(table(bp={}, kd={}, bp_long=BP_LONG), "test")
    filled = parse(table(bp={}, kd={}, bp_long=BP_LONG | {"epochs": {"convnet-d2-w2": 24}}), "test")
    assert filled.arms()[2].epochs == 24
    assert changed_arms(arm_definitions(plain), arm_definitions(filled)) == []
    other = parse(table(bp={}, kd={}, dkd={}, bp_long={"method": "bp", "compute_of": "dkd"}), "test")
    assert changed_arms(arm_definitions(plain), arm_definitions(other)) == [
        "methods.bp_long.compute_of: kd -> dkd"
    ]


@pytest.mark.parametrize(
    ("methods", "line"),
    [
        ({"bp_long": {"method": "bp", "compute_of": "lp"}}, "bp_long.compute_of: must be one of kd but got"),
        ({"bp": {"compute_of": "bp"}}, "bp.compute_of: must be one of kd but got 'bp'"),
        ({"dkd": {"compute_of": "kd"}}, "dkd.compute_of: dkd learns from the teacher itself; it is for bp"),
        ({"bp": {"epochs": 9}}, "bp.epochs: unknown key; compute_of = ... computes the epochs of an arm"),
        ({"bp": {"compute_of": "kd", "epochs": 9}}, "bp.epochs: must be whole numbers above 0 but got 9"),
    ],
)
def test_what_cannot_be_computed_is_refused_in_one_line(methods: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=r"^test: methods") as error:
        parse(table(kd={}, **methods), "test")
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("width = 2\n", "width = { low = 2, high = 3 }\n"), "needs students of one size"),
        (("width = 2\n", 'width = 2\nmethods = ["bp", "bp_long"]\n'), "is not trained by kd: see students."),
    ],
)
def test_students_that_do_not_fit_are_refused(change: tuple[str, str], line: str, tmp_path: Path) -> None:
    write_study(tmp_path, LONG, change)
    result = call(plan.main, tmp_path, "tiny.toml", "--untimed")
    assert result.code == 2
    assert line in result.err


def test_epochs_that_a_user_gives_beside_are_refused(tmp_path: Path) -> None:
    write_study(tmp_path, (LONG[0], f"{LONG[1]}\nepochs = {{ convnet = 3 }}"))
    result = call(plan.main, tmp_path, "tiny.toml", "--untimed")
    assert (result.code, "is computed from compute_of; leave it out" in result.err) == (2, True)
