"""Processes that die repeatedly: progress resets the count of restarts; without it the task fails."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from tune_driver import run_in_tune

from lpstudy.outputs import EpochResult
from lpstudy.ray_cluster.actors import as_report
from lpstudy.ray_cluster.restarting_task import RestartingTask
from lpstudy.ray_cluster.session import ray_session
from lpstudy.study import TaskError, TrialResources
from lpstudy.study.driver import MAX_RESTARTS

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the processes do not know the tests


@pytest.fixture(scope="module", autouse=True)
def _one_session() -> Iterator[None]:
    with ray_session():
        yield


def epoch(number: int) -> dict[str, Any]:
    return as_report([EpochResult(number, {"validation_accuracy": 50.0, "test_accuracy": 50.0})])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_trial_that_continues_between_its_losses_is_not_given_up(tmp_path: Path) -> None:
    position, last = tmp_path / "reached", MAX_RESTARTS + 2

    def an_epoch_a_life(config: dict[str, Any]) -> None:
        if config["number"]:  # the final
            tune.report(
                as_report([EpochResult(n, {"validation_accuracy": 50.0}) for n in range(1, last + 1)])
            )
            return
        done = int(position.read_text()) + 1 if position.exists() else 1
        position.write_text(str(done))
        tune.report(epoch(done))
        if done < last:
            die()

    ledger = run_in_tune(
        tmp_path, an_epoch_a_life, TrialResources(concurrent=1), ("epochs = 2\n", f"epochs = {last}\n")
    )
    trial, final = ledger.records()
    assert (trial.state, trial.assignment.attempt) == ("finished", last)
    assert [one.epoch for one in trial.epochs] == list(range(1, last + 1))
    assert (final.state, final.assignment.attempt) == ("finished", 1)


def test_a_trial_that_never_continues_is_given_up_and_its_neighbour_is_not(tmp_path: Path) -> None:
    def dead_or_alive(config: dict[str, Any]) -> None:
        if config["number"] == 0:
            die()
        tune.report(as_report([EpochResult(n, {"validation_accuracy": 50.0}) for n in (1, 2)]))

    ledger = run_in_tune(tmp_path, dead_or_alive, TrialResources(concurrent=2), ("trials = 1", "trials = 2"))
    dead, alive, final = ledger.records()
    assert (dead.state, dead.assignment.attempt, dead.epochs) == ("failed", MAX_RESTARTS + 1, ())
    assert "died" in str(dead.cause)
    assert {(r.state, r.assignment.attempt) for r in (alive, final)} == {("finished", 1)}


@ray.remote(max_retries=0, num_cpus=1, num_returns="streaming")
def _counts(kept: str, last: int, step: int) -> Iterator[int]:
    """Count on from the previous process, and die after some steps."""
    path = Path(kept)
    done = int(path.read_text()) if path.exists() else 0
    for number in range(1, min(done + step, last) + 1):
        path.write_text(str(number))
        yield number
    if done + step < last:
        time.sleep(0.5)  # Ray loses a result whose process dies too early
        die()


@ray.remote(max_retries=0, num_cpus=1, num_returns="streaming")
def _keeps(kept: str, last: int) -> Iterator[int]:
    """Store one part more than the previous process, and die; the last process returns a result."""
    path = Path(kept)
    done = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(done))
    if done < last:
        die()
    yield done


@ray.remote(max_retries=0, num_cpus=1, num_returns="streaming")
def _raises(error: Exception) -> Iterator[int]:
    yield 1
    raise error


def counted(begin: Any, kept: Callable[[], str] = str) -> list[int]:
    results: list[int] = []

    def new(number: int) -> bool:
        return number > max(results, default=0)

    stream = RestartingTask(begin, new, kept)
    while True:
        try:
            if (number := stream.next()) is not None:
                results.append(number)
        except StopIteration:
            return results


def test_a_task_that_continues_between_its_losses_comes_to_its_end(tmp_path: Path) -> None:
    assert counted(partial(_counts.remote, str(tmp_path / "kept"), 6, 1)) == [1, 2, 3, 4, 5, 6]


def test_a_task_that_keeps_more_between_its_losses_comes_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    begin = partial(_keeps.remote, str(path), MAX_RESTARTS + 3)
    assert counted(begin, lambda: path.read_text() if path.exists() else "") == [MAX_RESTARTS + 3]


def test_a_task_that_keeps_nothing_more_is_given_up(tmp_path: Path) -> None:
    begin = partial(_keeps.remote, str(tmp_path / "kept"), MAX_RESTARTS + 3)
    with pytest.raises(TaskError, match="its process was lost 3 times in a row: "):
        counted(begin, lambda: "checkpoint-000001.json")


def test_a_task_that_never_continues_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="its process was lost 3 times in a row: "):
        counted(partial(_counts.remote, str(tmp_path / "kept"), 6, 0))


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("no such images"), ValueError, "no such images"),
        (FileNotFoundError(2, "gone", "a.png"), FileNotFoundError, "a.png"),
        (MemoryError(), TaskError, "oom: out of memory"),
        (
            RuntimeError("you tried to allocate 304200000000 bytes. not enough memory"),
            TaskError,
            "304200000000",
        ),
    ],
)
def test_what_a_task_raises_is_reported_in_a_line(
    error: Exception, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        counted(partial(_raises.remote, error))


def test_what_is_a_mistake_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ray.exceptions.RayTaskError, match="unheard"):
        counted(partial(_raises.remote, KeyError("unheard")))
