"""The loss of Ray's servers pauses the study in one line; tested with other processes instead of Ray."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import wait_for

from lpstudy.folder import LocalFolder
from lpstudy.ray_cluster import head, ray_watch
from lpstudy.ray_cluster.ray_watch import RayWatch
from lpstudy.study import StudyControl


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_watch, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(ray_watch, "CHECKPOINT_SECONDS", 0.05)
    monkeypatch.setattr(ray_watch, "OWN_SILENT_SECONDS", 0.5)
    monkeypatch.setattr(ray_watch, "CLUSTER_SILENT_SECONDS", 0.8)
    monkeypatch.setattr(head, "ANSWER_SECONDS", 0.1)


@pytest.fixture
def control(tmp_path: Path) -> StudyControl:
    return StudyControl(LocalFolder(tmp_path), "own")


@pytest.fixture
def server() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that lives until it is killed."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def mute() -> Iterator[str]:
    """A server that accepts connections and never answers, as a suspended one does."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(64)
        yield f"127.0.0.1:{one.getsockname()[1]}"


def reason(control: StudyControl) -> str:
    """The reason of the pause, once the study pauses."""
    wait_for(lambda: control.current.is_exit, seconds=20)
    assert control.request == "pause"
    return control.current.why


def test_a_server_that_was_killed_is_named_with_the_signal(
    control: StudyControl, server: "subprocess.Popen[bytes]"
) -> None:
    watch = RayWatch(control, {"raylet": server}, {})
    watch.thread.start()
    server.kill()
    assert reason(control) == "Ray's raylet on this machine has ended (signal 9)"
    watch.thread.join(5)
    assert watch.lost


def test_who_meets_an_error_learns_at_once_that_a_server_has_ended(
    control: StudyControl, server: "subprocess.Popen[bytes]"
) -> None:
    watch = RayWatch(control, {"gcs_server": server}, {})
    assert not watch.is_lost()
    server.send_signal(signal.SIGTERM)
    server.wait()
    assert watch.is_lost()
    assert control.current.why == "Ray's gcs_server on this machine has ended (signal 15)"


@pytest.mark.parametrize("is_owned", [True, False])
def test_a_server_that_does_not_answer_is_named_after_a_while(
    is_owned: bool, control: StudyControl, server: "subprocess.Popen[bytes]", mute: str
) -> None:
    watch = RayWatch(control, {"raylet": server} if is_owned else {}, {mute: "head"})
    watch.thread.start()
    assert reason(control) == "Ray's head did not answer for 1 s"
    watch.thread.join(5)
    assert watch.lost


def test_a_server_that_is_silent_for_a_moment_is_not_lost(
    control: StudyControl, server: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that was suspended, a short silence is not a loss."""
    answers, questions = [["a"], [], ["a"], ["a"], [], ["a"], ["a"], []], []

    def silent_servers(addresses: object) -> list[str]:
        questions.append(addresses)
        return answers[(len(questions) - 1) % len(answers)]

    monkeypatch.setattr(ray_watch, "OWN_SILENT_SECONDS", 0.0)
    monkeypatch.setattr(ray_watch, "silent_servers", silent_servers)
    watch = RayWatch(control, {"raylet": server}, {"a": "head"})
    watch.thread.start()
    wait_for(lambda: len(questions) > 2 * len(answers), seconds=20)
    assert not control.current.is_exit
    assert watch.thread.stop(5)


def test_an_error_in_the_thread_pauses_the_study(
    control: StudyControl, server: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(addresses: object) -> list[str]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ray_watch, "silent_servers", fails)
    watch = RayWatch(control, {"raylet": server}, {"a": "head"})
    watch.thread.start()
    assert reason(control) == "the thread 'ray' failed: RuntimeError: a bug"
    assert watch.thread.stop(5)
