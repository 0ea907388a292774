"""Requests from other shells: pause, resume, cancel and stop; and a driver that is killed meanwhile."""

import json
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from commands import CommandResult, call, trial_processes, wait_for, wait_for_exit, write_study
from staging import FIXED, LONG, OFTEN, by_key, last_line, newest_epochs, running_sweep, suspended_trials

from lpstudy import operate, reconcile, status, sweep

FOUR = ("trials = 1", "trials = 4")


def now(folder: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(call(status.main, folder, "tiny", "--json").out)
    return answer


def ask(folder: Path, command: operate.Command) -> CommandResult:
    return call(lambda words: operate.main(words, command), folder, "tiny", "--json")


def states(folder: Path) -> dict[str, str]:
    return {key: record.state for key, record in by_key(folder).items()}


def ask_in_a_trial(
    process: "Popen[str]", folder: Path, command: operate.Command
) -> tuple[CommandResult, str]:
    """The answer to a request, and the key of the trial that ran, which is suspended until then."""
    with suspended_trials(process):
        answer = ask(folder, command)
        (unfinished,) = (key for key, state in states(folder).items() if state != "finished")
    return answer, unfinished


@dataclass(frozen=True)
class Stage:
    """The observations of the scenario."""

    folder: Path
    answers: dict[str, CommandResult]
    paused: dict[str, Any]
    before: dict[str, int]
    after: dict[str, int]
    result_of_stop: CommandResult
    stopped_in: str
    after_stop: dict[str, str]
    cancelled: CommandResult
    cancelled_in: str
    after_cancel: dict[str, str]
    finished: CommandResult


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("requests")
    write_study(folder, LONG, FIXED, FOUR, OFTEN)
    answers = {"resume, none runs": CommandResult(0, "", "")}
    with running_sweep(folder, "--concurrent", "1") as process:
        answers["pause"], _ = ask_in_a_trial(process, folder, "pause")
        wait_for(lambda: not trial_processes(process.pid))
        before, paused = dict(newest_epochs(folder)), now(folder)
        answers["resume"] = ask(folder, "resume")
        wait_for(lambda: sum(newest_epochs(folder).values()) > sum(before.values()))
        after = dict(newest_epochs(folder))
        answers["stop"], stopped_in = ask_in_a_trial(process, folder, "stop")
        result_of_stop = wait_for_exit(process)
    after_stop = states(folder)
    answers["resume, none runs"] = ask(folder, "resume")
    with running_sweep(folder, "--concurrent", "1") as process:
        answers["cancel"], cancelled_in = ask_in_a_trial(process, folder, "cancel")
        cancelled = wait_for_exit(process)
    after_cancel = states(folder)
    finished = call(sweep.main, folder, "tiny.toml", "--in-process")
    return Stage(
        folder,
        answers,
        paused,
        before,
        after,
        result_of_stop,
        stopped_in,
        after_stop,
        cancelled,
        cancelled_in,
        after_cancel,
        finished,
    )


def test_every_request_is_received(stage: Stage) -> None:
    for command in ("pause", "resume", "stop", "cancel"):
        answer = stage.answers[command]
        assert answer.code == 0, answer.err
        assert json.loads(answer.out) == {"study": "tiny", "command": command, "heard": True}


def test_a_paused_study_waits_without_trials_and_continues(stage: Stage) -> None:
    assert (stage.paused["state"], stage.paused["alive"]) == ("pausing", True)
    assert stage.paused["holder"]["pid"]
    assert sum(stage.after.values()) > sum(stage.before.values())


def test_stop_lets_the_running_trial_end_and_reports(stage: Stage) -> None:
    assert stage.result_of_stop.code == 0, stage.result_of_stop.err
    assert "report  " in stage.result_of_stop.out
    assert f"{len(stage.after_stop)} finished" in stage.result_of_stop.out
    assert list(stage.after_stop)[-1] == stage.stopped_in  # none was started after it
    assert set(stage.after_stop.values()) == {"finished"}


def test_resume_without_a_process_says_how_to_start(stage: Stage) -> None:
    result = stage.answers["resume, none runs"]
    assert result.code == 1
    assert "no process runs study 'tiny'; start it with: python -m lpstudy.sweep tiny.toml" in last_line(
        result
    )


def test_cancel_fails_what_runs_now(stage: Stage) -> None:
    assert stage.cancelled.code == 0, stage.cancelled.err
    assert "1 failed" in stage.cancelled.out
    assert list(stage.after_cancel)[-1] == stage.cancelled_in
    assert {key for key, state in stage.after_cancel.items() if state == "failed"} == {stage.cancelled_in}
    assert set(stage.after_cancel.values()) == {"failed", "finished"}


def test_a_later_start_does_the_rest(stage: Stage) -> None:
    assert stage.finished.code == 0, stage.finished.err
    ledger_runs = by_key(stage.folder)
    assert sorted(record.state for record in ledger_runs.values()) == ["failed", *["finished"] * 4]
    assert [record.cause for record in ledger_runs.values() if record.state == "failed"] == ["cancelled"]


def test_ledger_and_mlflow_agree(stage: Stage) -> None:
    result = call(reconcile.main, stage.folder, "tiny", "--check")
    assert (result.code, result.out) == (0, "5 runs in the ledger, 0 differ in MLflow\n"), result


def test_a_finished_study_is_left_as_it_is(stage: Stage) -> None:
    assert now(stage.folder)["state"] == "finished"
