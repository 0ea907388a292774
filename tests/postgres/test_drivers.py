"""Several drivers in one database, and a server that stops under one of them."""

import random
import re
import signal
import time
from collections.abc import Callable

import pytest
from commands import wait_for
from drivers import PAUSED, assert_whole, exit_code_of, open_ledger, play, start_driver
from postgres_server import Postgres
from proxy import Proxy

from lpstudy.ledger import (
    Storage,
    UnwritableError,
    is_study_running,
    open_storage,
    read_lease,
    read_ledger,
    rename_study,
    study_names,
)

DRIVERS = 8


def test_eight_drivers_at_once_each_bring_their_study_to_its_end(server: Postgres) -> None:
    url = server.database()  # without tables: all eight make them
    studies = [f"study-{number}" for number in range(DRIVERS)]
    processes = [start_driver(url, name, 2) for name in studies]
    assert [exit_code_of(process) for process in processes] == [0] * DRIVERS
    assert study_names(open_storage(url)) == studies
    for name in studies:
        assert_whole(url, name, 2)
    server.drop(url)


def test_a_driver_continues_when_the_server_was_away_for_a_moment(server: Postgres, url: str) -> None:
    driver, storage = start_driver(url, "moment", 6, seconds=0.05), open_storage(url)
    try:
        for signal_number, run_count in ((signal.SIGQUIT, 3), (signal.SIGINT, 8), (signal.SIGQUIT, 12)):
            wait_for(lambda run_count=run_count: runs(storage, "moment") >= run_count)
            time.sleep(random.uniform(0, 0.2))
            server.stop(signal_number)
            time.sleep(1.0)
            server.start()
            last_count = heartbeat_count(storage, "moment")
            wait_for(
                lambda last_count=last_count: (
                    heartbeat_count(storage, "moment") > last_count or driver.exitcode is not None
                )
            )
        assert exit_code_of(driver) == 0
    finally:
        driver.kill()
        server.ensure_running()
    records = assert_whole(url, "moment", 6)
    assert {record.assignment.attempt for record in records} == {1}


def test_a_study_pauses_when_the_server_stays_away_and_continues_when_it_is_back(
    server: Postgres, url: str
) -> None:
    driver, storage = start_driver(url, "away", seconds=0.05, patience=1.0), open_storage(url)
    try:
        wait_for(lambda: runs(storage, "away") >= 3)
        server.stop()
        assert exit_code_of(driver) == PAUSED
    finally:
        driver.kill()
        server.ensure_running()
    before = {record.assignment.key: record for record in read_ledger(url, "away").records()}
    assert not is_study_running(open_storage(url).engine, "away")
    assert exit_code_of(start_driver(url, "away")) == 0
    after = {record.assignment.key: record for record in assert_whole(url, "away")}
    for key, record in before.items():
        assert after[key].epochs[: len(record.epochs)] == record.epochs
        if record.state != "running":
            assert after[key] == record


def test_a_commit_whose_answer_is_lost_is_made_once(server: Postgres, url: str) -> None:
    with Proxy(server.port) as proxy:
        ledger = open_ledger(url.replace(f":{server.port}/", f":{proxy.port}/"), "lost")
        proxy.lose(every=6)
        play(ledger)
        assert proxy.lost >= 5
    assert_whole(url, "lost")


def test_an_old_study_is_read_under_its_new_name(url: str) -> None:
    play(open_ledger(url, "small", 1))
    rename_study(open_storage(url), "small", "small.old1")
    play(open_ledger(url, "small", 2))
    assert study_names(open_storage(url)) == ["small", "small.old1"]
    old = read_ledger(url, "small.old1").records()
    assert len(old) == 2 * (1 + 2)
    assert len(read_ledger(url, "small").records()) == 2 * (2 + 2)
    assert {record.assignment.number for record in old} == {0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda url: url.replace("kept-s3cret", "wr0ng"), "password authentication failed"),
        (
            lambda url: re.sub("//.*@(.*)", r"//\1?user=lpstudy&password=wr0ng", url),
            "password authentication",
        ),
        (lambda url: url.rpartition("/")[0] + "/none", 'database "none" does not exist'),
        (lambda url: url.replace("postgresql://", "postgres://"), r"must be postgresql://\.\.\. or"),
    ],
)
def test_what_the_server_refuses_is_bad_input(url: str, change: Callable[[str], str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        open_storage(change(url))
    assert "wr0ng" not in str(refused.value)
    assert "kept-s3cret" not in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_server_that_is_not_there_is_said_at_once(server: Postgres) -> None:
    start_time = time.monotonic()
    with pytest.raises(UnwritableError, match="onnection refused"):
        open_storage(server.url("any").replace(f":{server.port}/", ":1/"))
    assert time.monotonic() - start_time < 5


def runs(storage: Storage, name: str) -> int:
    """The number of runs that have started."""
    try:
        return len(read_ledger(storage, name).records())
    except ValueError:  # not started yet
        return 0


def heartbeat_count(storage: Storage, name: str) -> int:
    """The number of the driver's heartbeats."""
    row = read_lease(storage.engine, name)
    return row.heartbeat if row is not None and row.token is not None else -1
