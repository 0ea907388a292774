"""An error in a thread is reported, and the thread restarts."""

import threading
from collections.abc import Callable

import pytest
from commands import wait_for

from lpstudy import threads
from lpstudy.threads import GuardedThread, describe_error


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "RESTART_SECONDS", 0.01)


def failing(error: BaseException, times: int, done: list[int]) -> Callable[[threading.Event], None]:
    """A thread's body that raises a number of times before it works."""
    calls = iter(range(times))

    def body(stop: threading.Event) -> None:
        for _ in calls:
            raise error
        done.append(1)

    return body


@pytest.mark.parametrize("error", [RuntimeError("a"), SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_every_error_is_reported_and_the_body_starts_again(error: BaseException) -> None:
    reported: list[BaseException] = []
    done: list[int] = []
    thread = GuardedThread("one", failing(error, 3, done), reported.append)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert reported == [error] * 3
    assert done == [1]


def test_a_report_that_fails_is_printed_and_the_thread_continues(capsys: pytest.CaptureFixture[str]) -> None:
    done: list[int] = []

    def report(error: BaseException) -> None:
        raise OSError("no disk")

    thread = GuardedThread("one", failing(ValueError("x\ny"), 1, done), report)
    thread.start()
    thread.join(5)
    assert done == [1]
    assert capsys.readouterr().err == "warning: thread one: ValueError: x y; then OSError: no disk\n"


def test_a_thread_that_fails_each_time_can_be_stopped() -> None:
    reported: list[BaseException] = []
    thread = GuardedThread("one", failing(ValueError("x"), 10**9, []), reported.append)
    thread.start()
    wait_for(lambda: len(reported) > 2, seconds=5)
    assert thread.stop(5)


def test_an_error_is_one_line() -> None:
    assert describe_error(ValueError("a\nb  c")) == "ValueError: a b c"
    assert describe_error(SystemExit()) == "SystemExit"
    assert len(describe_error(ValueError("a" * 999))) == 300


def test_no_thread_is_started_without_the_guard() -> None:
    """A pool of `concurrent.futures` raises the error with the result; a bare thread loses it."""
    import ast
    from pathlib import Path

    import lpstudy

    root = Path(lpstudy.__file__).parent
    bare = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        if path.name != "threads.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id)
        in {"Thread", "Timer", "start_new_thread"}
    ]
    assert bare == []
