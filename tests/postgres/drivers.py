"""A process that writes a ledger as a sweep does, with invented results and without Ray."""

import multiprocessing
import sys
import threading
import time
from collections import Counter
from multiprocessing.context import ForkProcess

from lpstudy.ledger import (
    Assignment,
    FencedError,
    Lease,
    Ledger,
    Record,
    StudyRunningError,
    UnwritableError,
    open_storage,
    read_ledger,
    retry,
)
from lpstudy.ledger.optuna_storage import Storage
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec, parse

SHAPE, CLASSES = (1, 8, 8), 10
EPOCHS = 3
PAUSED, HELD, FENCED = 75, 2, 1
HEARTBEAT_SECONDS = 0.2
FORK = multiprocessing.get_context("fork")


def study_spec(name: str, trials: int = 4) -> StudySpec:
    """A study of two arms with one searched hyperparameter and two finals each."""
    table = {
        "name": name,
        "data": {"kind": "digits"},
        "teacher": {"family": "convnet", "depth": 2, "width": 8},
        "students": [{"family": "convnet", "depth": 2, "width": 4}],
        "methods": {"bp": {}, "kd": {}},
        "training": {"learning_rate": {"low": 1e-3, "high": 1e-2}},
        "budget": {"trials": trials, "epochs": EPOCHS, "seeds": 2},
        "finals": {"candidates": 1},
    }
    return parse(table, "here")


def open_ledger(url: str, name: str, trials: int = 4) -> Ledger:
    """Open a ledger as a new process does."""
    return ledger_in(open_storage(url), name, trials)


def ledger_in(storage: Storage, name: str, trials: int = 4) -> Ledger:
    """Open the study's ledger in a storage."""
    ledger = Ledger(storage, study_spec(name, trials), input_shape=SHAPE, classes=CLASSES)
    ledger.check_unchanged("images")
    ledger.adopt_unfinished()
    return ledger


def results() -> list[EpochResult]:
    """The results that each run reports."""
    return [EpochResult(epoch, {"validation_accuracy": 50.0 + epoch}) for epoch in range(1, EPOCHS + 1)]


def play(ledger: Ledger, seconds: float = 0.0) -> None:
    """Run all assignments of the ledger, with a pause in seconds before each epoch."""
    while isinstance(run := ledger.next(), Assignment):
        for result in results():
            time.sleep(seconds)
            if ledger.report(run, [result]):
                ledger.finish(run, "pruned")
                break
        else:
            ledger.finish(run, "finished")


def run_driver(url: str, name: str, trials: int, seconds: float, patience: float) -> None:
    """Acquire the study's lease, run it, and exit as a sweep does."""
    retry.RETRY_SECONDS = patience
    storage = open_storage(url)
    lease = Lease(storage.engine, name)
    stop = threading.Event()

    def send_heartbeats() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            try:
                lease.heartbeat({})
            except UnwritableError:
                continue

    try:
        lease.acquire()
        threading.Thread(target=send_heartbeats, daemon=True).start()
        play(ledger_in(storage, name, trials), seconds)
    except UnwritableError:
        sys.exit(PAUSED)
    except StudyRunningError:
        sys.exit(HELD)
    except FencedError:
        sys.exit(FENCED)
    finally:
        stop.set()
        lease.release({"state": "left"})


def start_driver(
    url: str, name: str, trials: int = 4, seconds: float = 0.0, patience: float = retry.RETRY_SECONDS
) -> ForkProcess:
    """Start a driver as a forked process; psycopg does not touch the connections of its parent."""
    process = FORK.Process(target=run_driver, args=(url, name, trials, seconds, patience), daemon=True)
    process.start()
    return process


def exit_code_of(process: ForkProcess, seconds: float = 240) -> int | None:
    """The exit code of a driver; None if it does not end in time."""
    process.join(seconds)
    process.kill()
    return process.exitcode


def assert_whole(url: str, name: str, trials: int = 4) -> list[Record]:
    """Check that the ledger has each run once, ended and with all its epochs; its records."""
    records = read_ledger(url, name).records()
    keys = Counter(record.assignment.key for record in records)
    assert set(keys.values()) == {1}, keys
    arms = [arm.name for arm in study_spec(name, trials).arms()]
    expected = {f"{arm}/trial-{number}" for arm in arms for number in range(trials)}
    finals = {key for key in keys if "/final-" in key}
    assert set(keys) - finals == expected
    assert {(r.assignment.arm, r.assignment.seed) for r in records if r.assignment.kind == "final"} == {
        (arm, seed) for arm in arms for seed in (1, 2)
    }
    assert len(finals) == 2 * len(arms)
    assert {record.state for record in records} <= {"finished", "pruned"}
    for record in records:
        epochs = [epoch.epoch for epoch in record.epochs]
        assert epochs == list(range(1, len(epochs) + 1))
        assert len(epochs) == EPOCHS or record.state == "pruned"
    return records
