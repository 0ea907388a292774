"""A study that a process runs: its heartbeats continue whatever fails in its gauges and threads."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import wait_for

from lpstudy import threads
from lpstudy.command import gauges, study_session
from lpstudy.command.gauges import Gauge, Gauges
from lpstudy.command.study_session import StudySession
from lpstudy.folder import LocalFolder
from lpstudy.ledger import read_lease
from lpstudy.study import PausedError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the intervals of heartbeats, gauges and restarts."""
    monkeypatch.setattr(study_session, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(threads, "RESTART_SECONDS", 0.02)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[StudySession]:
    """A session of this process."""
    study = StudySession(LocalFolder(tmp_path / "tiny"), None, "tiny", fresh=False)
    with study.running():
        yield study


def beats(study: StudySession) -> int:
    row = read_lease(study.storage.engine, "tiny")
    assert row is not None
    return row.heartbeat


def stored_gauges(study: StudySession) -> dict[str, Any]:
    """The gauges of the newest heartbeat."""
    row = read_lease(study.storage.engine, "tiny")
    assert row is not None
    return dict(row.gauges)


def goes_on(study: StudySession) -> bool:
    """Whether three more heartbeats follow."""
    before = beats(study)
    return bool(wait_for(lambda: beats(study) >= before + 3, seconds=10))


def test_gauges_may_be_added_while_heartbeats_run(running: StudySession) -> None:
    """The heartbeat's thread iterates over the gauges meanwhile."""
    names = itertools.count()
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        name = f"gauge{next(names)}"
        running.gauges.add(**{name: lambda: 1})
        running.gauges.values()
        running.gauges.remove(name)
    assert running.control.fault is None
    assert goes_on(running)


def fails() -> object:
    raise RuntimeError("dictionary changed size during iteration")


def exits() -> object:
    raise SystemExit(3)


def no_json() -> object:
    return {1, 2}


@pytest.mark.parametrize("read_value", [fails, exits, no_json])
def test_a_gauge_that_fails_is_left_out_and_named_once(
    read_value: Callable[[], object], running: StudySession, capsys: pytest.CaptureFixture[str]
) -> None:
    running.gauges.add(bad=read_value, good=lambda: 5)
    wait_for(lambda: stored_gauges(running).get("good") == 5, seconds=10)
    assert goes_on(running)
    assert "bad" not in stored_gauges(running)
    assert running.control.fault is None
    output = capsys.readouterr().err
    assert output.count("warning: lpstudy status lacks 'bad': ") == 1
    assert output.count("\n") == 1


def test_a_gauge_that_succeeds_again_is_reported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([OSError("away"), 7])

    def read_value() -> object:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    gauge = Gauge("free", read_value, seconds=60)
    wait_for(lambda: gauge.reading().value == 7, seconds=10)
    gauge.stop()


def test_a_slow_gauge_delays_neither_heartbeats_nor_other_gauges(
    running: StudySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "STOP_SECONDS", 0.01)
    forever = threading.Event()
    running.gauges.add(slow=forever.wait, fast=lambda: 1)
    wait_for(lambda: stored_gauges(running).get("fast") == 1, seconds=10)
    assert goes_on(running)
    assert "slow" not in stored_gauges(running)
    forever.set()


def test_an_old_reading_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Gauges()
    forever, calls = threading.Event(), itertools.count()

    def read_value() -> int:
        if next(calls):
            forever.wait()
        return 1

    monkeypatch.setattr(gauges.Gauge.__init__, "__defaults__", (0.01,))
    collection.add(slow=read_value)
    wait_for(lambda: collection.values() == {"slow": 1}, seconds=10)
    monkeypatch.setattr(gauges, "MAX_AGE_SECONDS", 0.05)
    wait_for(lambda: collection.values() == {}, seconds=10)
    forever.set()
    collection.stop()


def test_an_error_in_the_thread_of_heartbeats_pauses_the_study_and_heartbeats_continue(
    running: StudySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = running._lease.heartbeat
    errors = iter([ValueError("no JSON")])

    def beat(words: Any) -> Any:
        for error in errors:
            raise error
        return before(words)

    monkeypatch.setattr(running._lease, "heartbeat", beat)
    wait_for(lambda: running.control.current.is_exit, seconds=10)
    assert isinstance(running.control.fault, PausedError)
    assert running.control.current.why == "the thread 'lease' failed: ValueError: no JSON"
    assert goes_on(running)


def test_an_error_in_the_thread_of_the_deadline_pauses_the_study(
    running: StudySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()

    def late(by: float = 0.0) -> bool:
        if next(calls) == 0:
            raise RuntimeError("a bug")
        return False

    monkeypatch.setattr(running.control, "is_overdue", late)
    running.control.pause_and_exit("terminated", seconds=60)  # it looks at the time from now on
    wait_for(lambda: running.control.fault is not None, seconds=10)
    assert str(running.control.fault) == "the thread 'deadline' failed: RuntimeError: a bug"
    assert running.deadline._thread.is_alive()


def test_a_signal_is_not_lost_to_a_request_that_comes_at_the_same_time(running: StudySession) -> None:
    def ask() -> None:
        for _ in range(200):
            running.control.send("run")

    threads_ = [threading.Thread(target=ask) for _ in range(3)]
    for one in threads_:
        one.start()
    running.control.pause_and_exit("terminated (SIGTERM)", seconds=60, signal=signal.SIGTERM)
    for one in threads_:
        one.join()
    assert running.control.current.is_exit
    assert running.control.request == "pause"


STUCK = """
import sys, time
from pathlib import Path
from lpstudy.command import deadline
from lpstudy.command.study_session import StudySession
from lpstudy.folder import LocalFolder
deadline.EXIT_SECONDS, deadline.HARD_SECONDS = 0.5, 0.1
study = StudySession(LocalFolder(Path(sys.argv[1]) / "tiny"), None, "tiny", fresh=False)
class Hanging:
    def kill(self):
        print("killed", flush=True)
study.use(Hanging())
with study.running():
    study.control.pause_and_exit("Ray hangs", seconds=0.0)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""


def test_a_process_whose_main_thread_hangs_ends_with_its_words_and_frees_the_study(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", STUCK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert (process.returncode, process.stdout) == (75, "killed\n")
    assert process.stderr == "lpstudy sweep: paused: Ray hangs; run the same command to resume\n"
    study = StudySession(LocalFolder(tmp_path / "tiny"), None, "tiny", fresh=False)
    assert study.previous_process is None
