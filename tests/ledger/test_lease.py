"""The lease: one process runs a study, and one without heartbeats can write no more."""

import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from leases import NAME, acquire, send_heartbeats
from optuna.study import StudyDirection

from lpstudy import ledger
from lpstudy.ledger import (
    FencedError,
    Lease,
    StudyRunningError,
    UnwritableError,
    ledger_file_url,
    open_storage,
    retry,
    storage,
)
from lpstudy.ledger import lease as leases

HOLD = """
import sys
from lpstudy.ledger import Lease, open_storage
lease = Lease(open_storage(sys.argv[1]).engine, "digits")
lease.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return ledger_file_url(tmp_path)


def test_a_second_process_is_refused_and_shown_who_holds_the_study(url: str) -> None:
    _, lease = acquire(url)
    stop = threading.Event()
    thread = send_heartbeats(lease, stop)
    try:
        with pytest.raises(StudyRunningError) as refused:
            Lease(open_storage(url).engine, NAME).acquire()
    finally:
        stop.set()
        thread.join()
    assert f"host {socket.gethostname()}, pid {os.getpid()}, since 20" in str(refused.value)


def test_what_was_released_is_free_at_once(url: str) -> None:
    _, lease = acquire(url)
    lease.release({"state": "paused"})
    start_time = time.monotonic()
    _, later = acquire(url)
    assert later.predecessor is None
    assert time.monotonic() - start_time < leases.STALE_SECONDS / 4


def test_a_holder_that_was_killed_is_replaced_at_once(url: str) -> None:
    open_storage(url)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    start_time = time.monotonic()
    _, lease = acquire(url)
    assert time.monotonic() - start_time < leases.STALE_SECONDS / 4
    assert lease.predecessor is not None
    assert lease.predecessor.pid == holder.pid


def test_a_holder_that_sends_no_heartbeat_is_replaced_and_can_write_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "STALE_SECONDS", 1.0)
    old_storage, old = acquire(url)
    study = old_storage.create_new_study([StudyDirection.MAXIMIZE], NAME)
    trial = old_storage.create_new_trial(study)
    start_time = time.monotonic()
    new_storage, new = acquire(url)
    assert time.monotonic() - start_time >= 1.0
    with pytest.raises(FencedError, match="was taken over by host"):
        old_storage.create_new_trial(study)
    with pytest.raises(FencedError):
        old_storage.set_trial_user_attr(trial, "late", 1)
    with pytest.raises(FencedError):
        old_storage.set_study_user_attr(study, "late", 1)
    with pytest.raises(FencedError):
        old.heartbeat({})
    assert len(new_storage.get_all_trials(study)) == 1
    assert new_storage.get_trial(trial).user_attrs == {}
    assert new_storage.get_study_user_attrs(study) == {}
    new_storage.set_trial_user_attr(trial, "new", 1)
    new.heartbeat({})


def _compete(url: str, barrier: Barrier, won: "multiprocessing.SimpleQueue[bool]") -> None:
    lease = Lease(open_storage(url).engine, NAME)
    barrier.wait()
    try:
        lease.acquire()
    except StudyRunningError:
        won.put(False)
    else:
        stop = threading.Event()
        send_heartbeats(lease, stop)
        won.put(True)
        barrier.wait()  # the winner lives until the others have lost
        stop.set()
        return
    barrier.wait()


def test_of_processes_that_start_together_one_wins(url: str) -> None:
    open_storage(url)
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        barrier, won = context.Barrier(4), context.SimpleQueue()
        processes = [context.Process(target=_compete, args=(url, barrier, won)) for _ in range(4)]
        for process in processes:
            process.start()
        answers = [won.get() for _ in processes]
        for process in processes:
            process.join()
        assert sorted(answers) == [False, False, False, True]


def test_the_newest_request_is_received_with_its_number(url: str) -> None:
    lease_storage, lease = acquire(url)
    first = ledger.send_request(open_storage(url).engine, NAME, "pause")
    assert (lease.heartbeat({}).request, lease.heartbeat({}).request_number) == (
        "pause",
        first.request_number,
    )
    second = ledger.send_request(lease_storage.engine, NAME, "run")
    assert second.request_number > first.request_number
    assert lease.heartbeat({}).request == "run"
    lease.release({})
    _, later = acquire(url)
    assert later.heartbeat({}).request_number == second.request_number


def test_a_clock_that_is_set_back_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, lease = acquire(url)
    stop = threading.Event()
    thread = send_heartbeats(lease, stop)
    now = time.time
    try:
        for shift in (-3600.0, 3600.0):
            monkeypatch.setattr(time, "time", lambda shift=shift: now() + shift)
            assert ledger.is_study_running(open_storage(url).engine, NAME)
            with pytest.raises(StudyRunningError):
                Lease(open_storage(url).engine, NAME).acquire()
    finally:
        stop.set()
        thread.join()


def test_a_ledger_that_is_locked_for_a_moment_is_written_all_the_same(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.1)
    lease_storage, _ = acquire(url)
    study = lease_storage.create_new_study([StudyDirection.MAXIMIZE], NAME)
    connection = lock(tmp_path)
    threading.Timer(1.0, connection.rollback).start()
    retry.retry_while_locked(lambda: lease_storage.set_study_user_attr(study, "k", 1), url)
    assert open_storage(url).get_study_user_attrs(study) == {"k": 1}


def test_a_ledger_that_stays_locked_is_given_up_with_its_name_and_time(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.1)
    lease_storage, _ = acquire(url)
    study = lease_storage.create_new_study([StudyDirection.MAXIMIZE], NAME)
    connection = lock(tmp_path)
    with pytest.raises(UnwritableError, match=r"ledger\.db cannot be written for \d+ s: database is locked"):
        retry.retry_while_locked(
            lambda: lease_storage.set_study_user_attr(study, "k", 1), "ledger.db", seconds=2.0
        )
    connection.rollback()
    assert open_storage(url).get_study_user_attrs(study) == {}


def lock(folder: Path) -> sqlite3.Connection:
    """Lock the database as another process's transaction does."""
    connection = sqlite3.connect(folder / "ledger.db", check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    return connection
