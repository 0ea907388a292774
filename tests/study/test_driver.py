"""The driver: which run is next, what a report decides, and which lost run is restarted."""

from pathlib import Path

import pytest
from driver_parts import tiny_driver

from lpstudy.ledger import Assignment, Done, FencedError, Record, UnwritableError, Waiting
from lpstudy.outputs import EpochResult
from lpstudy.study import Driver, PausedError, run_all
from lpstudy.study.driver import MAX_RESTARTS, Decision
from lpstudy.study.run_end import PAUSE, EndKind, RunEnd

TWO = ("trials = 1", "trials = 2")
LONG = ("epochs = 2\n", "epochs = 8\n")
HALVING = ("seeds = 1", 'seeds = 1\npruner = "halving"')


def epochs(*numbers: int, accuracy: float = 50.0) -> list[EpochResult]:
    return [EpochResult(n, {"validation_accuracy": accuracy, "test_accuracy": 50.0}) for n in numbers]


def start(driver: Driver) -> str:
    """The key of the next run."""
    job = driver.next(at_most=10)
    assert isinstance(job, Assignment)
    return job.key


def finish(driver: Driver, key: str, last: int = 2) -> None:
    assert driver.on_report(key, epochs(*range(1, last + 1)), None) is Decision.CONTINUE
    driver.on_end(key)


def record(driver: Driver, key: str) -> Record:
    return next(record for record in driver.ledger.records() if record.assignment.key == key)


def test_runs_are_handed_out_until_none_is_left(tmp_path: Path) -> None:
    driver, changed = tiny_driver(tmp_path, TWO)
    first, second = start(driver), start(driver)
    assert isinstance(driver.next(at_most=2), Waiting)  # for a place
    assert isinstance(driver.next(at_most=3), Waiting)  # the final needs both trials
    finish(driver, first)
    finish(driver, second)
    finish(driver, start(driver))
    assert isinstance(driver.next(at_most=3), Done)
    ends = [name for name in changed if name.startswith(("trial", "final"))]
    assert ends == ["trial-0"] * 2 + ["trial-1"] * 2 + [ends[-1]] * 2
    assert {r.state for r in driver.ledger.records()} == {"finished"}


def test_a_run_that_ends_too_early_has_failed(tmp_path: Path) -> None:
    driver, _ = tiny_driver(tmp_path)
    key = start(driver)
    driver.on_report(key, epochs(1), None)
    driver.on_end(key)
    assert (record(driver, key).state, record(driver, key).cause) == ("failed", "ended after 1 of 2 epochs")


def test_a_failure_stops_the_run_with_its_cause(tmp_path: Path) -> None:
    driver, changed = tiny_driver(tmp_path)
    key = start(driver)
    end = RunEnd(EndKind.DIVERGED, "loss is nan in epoch 2")
    assert driver.on_report(key, epochs(1), end) is Decision.STOP
    driver.on_end(key)  # the end of the stopped run
    assert (record(driver, key).state, record(driver, key).cause) == ("failed", "nan: loss is nan in epoch 2")
    assert changed == ["trial-0"]
    assert driver.control.live_trials == 0


def test_a_paused_run_stays_unfinished(tmp_path: Path) -> None:
    driver, _ = tiny_driver(tmp_path)
    key = start(driver)
    driver.control.send("pause")
    assert driver.on_report(key, epochs(1), PAUSE) is Decision.STOP
    driver.on_end(key)
    assert record(driver, key).state == "running"
    assert isinstance(driver.next(at_most=1), Done)


@pytest.mark.parametrize(
    ("kind", "needs_repair"),
    [(EndKind.DISK_FULL, True), (EndKind.UNWRITABLE, True), (EndKind.UNREACHABLE, False)],
)
def test_a_storage_that_fails_pauses_the_study(kind: EndKind, needs_repair: bool, tmp_path: Path) -> None:
    driver, _ = tiny_driver(tmp_path)
    key = start(driver)
    assert driver.on_report(key, [], RunEnd(kind, "/studies/x")) is Decision.STOP
    driver.on_end(key)
    fault = driver.control.fault
    assert isinstance(fault, UnwritableError)
    assert (str(fault), fault.needs_repair) == (f"{kind}: /studies/x", needs_repair)
    assert record(driver, key).state == "running"
    with pytest.raises(UnwritableError):
        run_all(driver, lambda driver: None)


@pytest.mark.parametrize("ends_runs", [True, False])
def test_a_pruned_run_ends_by_whoever_trains_it_or_by_itself(ends_runs: bool, tmp_path: Path) -> None:
    driver, _ = tiny_driver(tmp_path, TWO, LONG, HALVING, ends_runs=ends_runs)
    rung = driver.ledger.rungs(driver.next(at_most=1))[0]  # type: ignore[arg-type]  # it is an assignment
    (best,) = driver._running
    driver.on_report(best, epochs(*range(1, 9), accuracy=90.0), None)
    driver.on_end(best)
    worst = start(driver)
    decision = driver.on_report(worst, epochs(*range(1, rung + 1), accuracy=1.0), None)
    if ends_runs:
        assert decision is Decision.STOP
    else:
        assert decision is Decision.CONTINUE
        assert record(driver, worst).state == "running"
        assert worst in (tmp_path / "control.json").read_text()  # there it reads that it must end
        assert driver.on_report(worst, [], PAUSE) is Decision.CONTINUE
    driver.on_end(worst)
    assert record(driver, worst).state == "pruned"


def test_a_run_that_makes_no_progress_between_its_losses_is_given_up(tmp_path: Path) -> None:
    driver, changed = tiny_driver(tmp_path)
    key = start(driver)
    retries = [driver.on_lost(key, "its process died") for _ in range(MAX_RESTARTS + 1)]
    assert retries == [True] * MAX_RESTARTS + [False]
    assert (record(driver, key).state, record(driver, key).cause) == ("failed", "its process died")
    assert record(driver, key).assignment.attempt == MAX_RESTARTS + 1
    assert changed == ["trial-0"]


def test_an_epoch_between_two_losses_is_progress(tmp_path: Path) -> None:
    driver, _ = tiny_driver(tmp_path, LONG)
    key = start(driver)
    for number in range(1, 8):
        driver.on_report(key, epochs(number), None)
        assert driver.restarts_remaining(key) == MAX_RESTARTS
        assert driver.on_lost(key, "its process died")
    driver.on_report(key, epochs(7), None)  # a stored epoch again
    assert driver.restarts_remaining(key) == MAX_RESTARTS - 1
    driver.on_report(key, epochs(8), None)
    driver.on_end(key)
    assert (record(driver, key).state, record(driver, key).assignment.attempt) == ("finished", 8)


def test_a_newer_checkpoint_between_two_losses_is_progress(tmp_path: Path) -> None:
    names = iter(["checkpoint-1", "checkpoint-2", "checkpoint-3", "checkpoint-4", *["checkpoint-4"] * 3])
    driver, _ = tiny_driver(tmp_path, newest=lambda run: next(names))
    key = start(driver)
    assert [driver.on_lost(key, "its process died") for _ in range(6)] == [True] * 5 + [False]


def test_reports_of_a_run_that_is_not_running_stop_it(tmp_path: Path) -> None:
    driver, changed = tiny_driver(tmp_path)
    key = start(driver)
    driver.on_failed(key, "its process died")
    assert driver.on_report(key, epochs(1, 2), None) is Decision.STOP
    assert not record(driver, key).epochs
    driver.on_end(key)
    assert changed == ["trial-0"]


def test_a_study_that_was_taken_over_records_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fenced(*args: object) -> bool:
        raise FencedError("another process runs the study")

    driver, changed = tiny_driver(tmp_path)
    key = start(driver)
    monkeypatch.setattr(driver.ledger, "report", fenced)
    assert driver.on_report(key, epochs(1), None) is Decision.STOP
    monkeypatch.undo()
    driver.on_end(key)
    assert record(driver, key).state == "running"
    assert changed == ["trial-0"]
    with pytest.raises(FencedError):
        run_all(driver, lambda driver: None)


def test_cancel_fails_what_is_unfinished_and_pause_raises(tmp_path: Path) -> None:
    driver, _ = tiny_driver(tmp_path)
    key = start(driver)
    driver.control.send("pause", "lpstudy pause")
    with pytest.raises(PausedError, match="lpstudy pause"):
        run_all(driver, lambda driver: None)
    driver.control.send("cancel")
    run_all(driver, lambda driver: None)
    assert (record(driver, key).state, record(driver, key).cause) == ("failed", "cancelled")


def test_no_trial_starts_after_the_budget_of_hours(tmp_path: Path) -> None:
    driver, _ = tiny_driver(tmp_path, ("trials = 1", "trials = 5\nhours = 1e-9"))
    assert isinstance(driver.next(at_most=1), Done)
    assert driver.ledger.records() == []
