"""The lease on PostgreSQL, where transactions of several processes run at the same time."""

import os
import socket
import threading
import time
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
import sqlalchemy
from drivers import FORK, ledger_in, play, results
from leases import NAME, acquire, send_heartbeats
from postgres_server import Postgres
from sqlalchemy import event

from lpstudy import ledger
from lpstudy.ledger import (
    Assignment,
    FencedError,
    Lease,
    StudyRunningError,
    UnwritableError,
    open_storage,
    retry,
    storage,
)
from lpstudy.ledger import lease as leases

ROUNDS, RIVALS = 20, 2


def contents(server: Postgres, url: str) -> dict[str, list[str]]:
    """All rows of all tables except the leases."""
    with server.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return {
            str(name): sorted(str(row) for row in connection.execute(f'SELECT t::text FROM "{name}" AS t'))
            for (name,) in names
            if name != leases.LEASES.name
        }


def test_a_second_holder_is_refused_and_shown_host_pid_and_since(url: str) -> None:
    _, lease = acquire(url)
    stop = threading.Event()
    thread = send_heartbeats(lease, stop)
    try:
        with pytest.raises(
            StudyRunningError, match=f"host {socket.gethostname()}, pid {os.getpid()}, since 20"
        ) as refused:
            acquire(url)
    finally:
        stop.set()
        thread.join()
    assert str(refused.value).isprintable()


def test_what_was_released_is_taken_at_once(url: str) -> None:
    _, lease = acquire(url)
    lease.release({"state": "paused"})
    start_time = time.monotonic()
    _, later = acquire(url)
    assert later.predecessor is None
    assert time.monotonic() - start_time < leases.STALE_SECONDS / 4


def test_a_silent_holder_is_replaced_and_then_writes_nothing(
    server: Postgres, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "STALE_SECONDS", 1.0)
    lease_storage, old = acquire(url)
    mine = ledger_in(lease_storage, NAME)
    run = mine.next()
    assert isinstance(run, Assignment)
    mine.report(run, results()[:1])
    start_time = time.monotonic()
    _, new = acquire(url)
    assert time.monotonic() - start_time >= 1.0
    assert new.predecessor is not None
    before = contents(server, url)
    for write in (
        lambda: mine.report(run, results()),
        lambda: mine.finish(run, "failed", "late"),
        lambda: mine.next(),
        lambda: mine.set_fact("late", 1),
        lambda: mine.set_attempt(run, 7),
        lambda: old.heartbeat({}),
    ):
        with pytest.raises(FencedError, match="was taken over by host"):
            write()
    assert contents(server, url) == before
    assert new.heartbeat({}).token == new.token


def test_a_transaction_that_was_open_at_the_takeover_is_not_committed(
    server: Postgres, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.5)
    lease_storage, _ = acquire(url)
    ledger_in(lease_storage, NAME)
    before = contents(server, url)

    def change() -> None:
        with lease_storage.engine.begin() as connection:
            connection.execute(sqlalchemy.text("UPDATE studies SET study_name = study_name || 'x'"))
            acquire(url)

    with pytest.raises(FencedError):
        change()
    assert contents(server, url) == before


def test_a_takeover_waits_for_a_commit_that_has_started(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.5)
    lease_storage, _ = acquire(url)
    ledger_in(lease_storage, NAME)
    rival, happened = open_storage(url), []

    def linger(connection: object) -> None:
        """Delay the commit after the guard has passed it."""
        thread.start()
        time.sleep(2.0)
        happened.append("committed")

    def take_over() -> None:
        Lease(rival.engine, NAME).acquire()
        happened.append("taken over")

    thread = threading.Thread(target=take_over)
    event.listen(lease_storage.engine, "commit", linger)
    with lease_storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE studies SET study_name = study_name"))
    event.remove(lease_storage.engine, "commit", linger)
    thread.join()
    assert happened == ["committed", "taken over"]


def compete(url: str, barrier: Barrier, won: "Any") -> None:
    """Compete for each study when it is new, and again when it is released."""
    lease_storage = open_storage(url)
    for number in range(ROUNDS):
        lease = Lease(lease_storage.engine, f"study-{number % (ROUNDS // 2)}")
        barrier.wait()
        try:
            lease.acquire()
        except StudyRunningError:
            won.put((number, False))
            barrier.wait()
        else:
            won.put((number, True))
            stop = threading.Event()
            thread = send_heartbeats(lease, stop)  # the other may look only now
            barrier.wait()
            stop.set()
            thread.join()
            lease.release({})


def test_of_processes_that_take_at_the_same_moment_one_wins(url: str) -> None:
    barrier, won = FORK.Barrier(RIVALS, timeout=30), FORK.Queue()
    processes = [FORK.Process(target=compete, args=(url, barrier, won), daemon=True) for _ in range(RIVALS)]
    for process in processes:
        process.start()
    answers = [won.get(timeout=60) for _ in range(ROUNDS * RIVALS)]
    for process in processes:
        process.join(30)
        process.kill()
    winners = {number: [w for n, w in answers if n == number].count(True) for number in range(ROUNDS)}
    assert winners == dict.fromkeys(range(ROUNDS), 1)


def test_requests_of_another_connection_are_received_in_their_order(url: str) -> None:
    _, lease = acquire(url)
    other = open_storage(url).engine
    rows = [lease.heartbeat({})]
    for request in ledger.REQUESTS:
        ledger.send_request(other, NAME, request)
        rows += [lease.heartbeat({}), lease.heartbeat({})]
    assert [row.request for row in rows[1::2]] == list(ledger.REQUESTS)
    assert [row.request_number for row in rows] == [
        0,
        *(n for n in range(1, 1 + len(ledger.REQUESTS)) for _ in "12"),
    ]


def test_a_table_that_is_locked_for_a_moment_is_written_all_the_same(
    server: Postgres, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.2)
    lease_storage, _ = acquire(url)
    mine = ledger_in(lease_storage, NAME)
    connection = server.connect(url)
    connection.autocommit = False
    connection.execute("LOCK TABLE trials, trial_user_attributes IN ACCESS EXCLUSIVE MODE")
    threading.Timer(1.5, connection.rollback).start()
    start_time = time.monotonic()
    play(mine)
    assert time.monotonic() - start_time >= 1.5
    assert mine.is_complete()
    connection.close()


def test_a_table_that_stays_locked_is_given_up_with_its_name_and_nothing_is_written(
    server: Postgres, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.2)
    monkeypatch.setattr(retry, "RETRY_SECONDS", 1.5)
    lease_storage, _ = acquire(url)
    mine = ledger_in(lease_storage, NAME)
    run = mine.next()
    assert isinstance(run, Assignment)
    before = contents(server, url)
    with server.connect(url) as connection, connection.transaction():
        connection.execute("LOCK TABLE trial_user_attributes IN ACCESS EXCLUSIVE MODE")
        place = f"postgresql://127.0.0.1:{server.port}/"
        with pytest.raises(
            UnwritableError, match=f"{place}.* for 2 s: canceling statement due to lock timeout"
        ):
            mine.report(run, results()[:1])
    assert contents(server, url) == before
    mine.report(run, results()[:1])
    assert len(mine.record(run).epochs) == 1
