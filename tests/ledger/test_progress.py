"""The progress of a sweep: epochs within a run, and an ETA before the first run has ended."""

import re
from collections.abc import Callable

import pytest

from lpstudy.command.eta import EpochCounts, Eta, count_epochs
from lpstudy.command.progress import Console
from lpstudy.ledger import Assignment, Ledger
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec
from lpstudy.teacher import TrainedTeacher

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]
BUDGET = {"trials": 2, "epochs": 10, "seeds": 2}


def next_run(ledger: Ledger) -> Assignment:
    run = ledger.next()
    assert isinstance(run, Assignment)
    return run


def trained(ledger: Ledger, run: Assignment, first: int, last: int) -> None:
    ledger.report(run, [EpochResult(n, {"validation_accuracy": 40.0 + n}) for n in range(first, last + 1)])


def test_epochs_are_counted_over_all_runs(make: Make, reopen: Open) -> None:
    ledger = reopen(make(methods={"bp": {}}, budget=BUDGET))
    first, second = next_run(ledger), next_run(ledger)
    trained(ledger, first, 1, 10)
    ledger.finish(first, "finished")
    trained(ledger, second, 1, 4)
    epochs = dict.fromkeys(ledger.arms, 10)
    counts = count_epochs(ledger.records(), wanted=ledger.expected_by_arm, epochs=epochs)
    assert counts == EpochCounts(trained=14, remaining=6 + 2 * 10)  # of the second trial, and two finals
    ledger.finish(second, "pruned")
    assert count_epochs(ledger.records(), wanted=ledger.expected_by_arm, epochs=epochs) == EpochCounts(
        trained=14, remaining=20
    )


def test_what_is_left_follows_from_the_rate_since_the_first_report() -> None:
    now = [100.0]
    eta = Eta(lambda: now[0])
    assert eta.seconds() is None
    eta.update(EpochCounts(trained=5, remaining=95))  # the processes had been started by then
    assert eta.seconds() is None
    now[0] = 102.0
    eta.update(EpochCounts(trained=15, remaining=85))
    assert eta.seconds() == pytest.approx(85 / 5)
    now[0] = 105.0
    assert eta.seconds() == pytest.approx(85 / 5 - 3)
    now[0] = 1000.0
    assert eta.seconds() == 0


def test_a_log_shows_the_epochs_of_a_run_and_an_eta_before_it_has_ended(
    make: Make, reopen: Open, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpstudy.command.progress.LOG_SECONDS", 0.0)
    ledger = reopen(make(methods={"bp": {}}, budget=BUDGET))
    console = Console(ledger, live=False)
    run = next_run(ledger)
    trained(ledger, run, 1, 3)
    console.changed(run)
    trained(ledger, run, 4, 6)
    console.changed(run)
    first, second = capsys.readouterr().err.splitlines()
    key = "bp-convnet-d2-w4/trial-0"
    assert first == f"0/4 {key} epoch 3/10, running, 43.00 %; best: none yet"
    assert re.fullmatch(rf"0/4 {key} epoch 6/10, running, 46.00 %; best: none yet, ETA \d+ s", second)
    assert console.eta() is not None
    assert console.rate() is None  # no run has ended


def test_a_terminal_shows_epochs_in_its_line(
    make: Make, reopen: Open, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpstudy.command.progress.REFRESH_SECONDS", 0.0)
    ledger = reopen(make(methods={"bp": {}}, budget=BUDGET))
    console = Console(ledger, live=True)
    run = next_run(ledger)
    for last in (3, 6):
        trained(ledger, run, last - 2, last)
        console.changed(run)
    console.close()
    output = capsys.readouterr().err
    assert "0/4 runs" in output
    assert "starting processes" in output
    assert "bp-convnet-d2-w4/trial-0 epoch 6/10, best: none yet" in output.split("\r")[-1]


def test_a_student_twice_as_good_as_the_teacher_is_reported_once(
    make: Make, reopen: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = reopen(make(methods={"bp": {}}, budget=BUDGET))
    teacher = TrainedTeacher("", "k", "0", "convnet", 20.0, 20.0, 1, 1, 1.0, 0)
    console = Console(ledger, live=False, teacher=teacher)
    for best in (36.0, 50.0, 60.0):
        run = next_run(ledger)
        epochs = [EpochResult(n, {"validation_accuracy": best * n / 10}) for n in range(1, 11)]
        ledger.report(run, epochs)
        ledger.finish(run, "finished")
        console.changed(run)
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert warnings == [
        "warning: the teacher reaches 20.00 % on validation, less than half of a student's 50.00 %"
    ]
