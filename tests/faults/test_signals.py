"""A study that signals end: it writes checkpoints, prints one line and resumes at its next start."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import (
    CommandResult,
    call,
    client_of,
    descendants,
    environment,
    runs,
    start,
    terminate_all,
    wait_for,
    wait_for_exit,
    write_study,
)
from staging import (
    FIXED,
    LONG,
    OFTEN,
    check_study,
    checkpoints,
    last_line,
    newest_epochs,
    running_sweep,
    suspended_trials,
)

from lpstudy import status, sweep
from lpstudy.signals import DUPLICATE_SECONDS

RARELY = ("checkpoint_seconds = 0.0", "checkpoint_seconds = 1.0")


@dataclass(frozen=True)
class Stage:
    """The observations of the scenario."""

    folder: Path
    second: CommandResult
    sweep: CommandResult
    status: dict[str, object]
    acknowledged: dict[str, int]
    """Epochs of each run in the ledger after the end."""
    checkpoint_epochs: dict[str, int]
    """Epochs of each run in its newest checkpoint after the end."""
    of_ray: list[int]
    """Processes below the sweep's, before the end."""
    again: CommandResult


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """SIGTERM during the trials; the study is started a second time before and a third time after it.

    All processes receive it, and the sweep receives it twice.
    """
    folder = tmp_path_factory.mktemp("signals")
    write_study(folder, LONG, FIXED, RARELY, ("trials = 1", "trials = 2"))
    with running_sweep(folder) as process:
        with suspended_trials(process):  # they would end while the second start imports
            second = call(sweep.main, folder, "tiny.toml", "--in-process")
        of_ray = list(descendants(process.pid))
        terminate_all(process.pid)
        result = wait_for_exit(process)
    shown = json.loads(call(status.main, folder, "tiny", "--json").out)
    checkpoint_paths = checkpoints(folder)
    checkpoint_epochs = {
        f"{path.parts[-3]}/{path.parts[-2]}": json.loads(path.read_bytes())["epoch"]
        for path in checkpoint_paths
    }
    acknowledged = dict(newest_epochs(folder))
    assert "RUNNING" not in {run.info.status for run in runs(client_of(folder), "tiny")}
    return Stage(
        folder,
        second,
        result,
        shown,
        acknowledged,
        checkpoint_epochs,
        of_ray,
        call(sweep.main, folder, "tiny.toml", "--in-process"),
    )


def test_a_second_start_is_refused_and_names_the_first(stage: Stage) -> None:
    assert stage.second.code == 2
    assert "study 'tiny' is running already: host " in last_line(stage.second)


def test_sigterm_ends_in_one_line_and_75(stage: Stage) -> None:
    assert stage.sweep.code == 75, stage.sweep.err
    assert last_line(stage.sweep) == (
        "lpstudy sweep: paused: terminated (SIGTERM); run the same command to resume"
    )


def test_status_says_why_it_is_paused(stage: Stage) -> None:
    assert (stage.status["state"], stage.status["why"]) == ("paused", "terminated (SIGTERM)")
    assert not stage.status["alive"]


def test_every_trial_wrote_a_checkpoint_of_all_that_it_had_done(stage: Stage) -> None:
    assert stage.checkpoint_epochs
    assert stage.checkpoint_epochs == {key: stage.acknowledged[key] for key in stage.checkpoint_epochs}


def test_no_process_of_ray_is_left(stage: Stage) -> None:
    assert len(stage.of_ray) > 3
    assert not [pid for pid in stage.of_ray if Path(f"/proc/{pid}").exists()]


def test_the_next_start_continues_and_loses_nothing(stage: Stage) -> None:
    assert stage.again.code == 0, stage.again.err
    check_study(stage.folder, 3)
    assert not checkpoints(stage.folder)


@pytest.mark.parametrize("seconds", [0.0, 2.0, 4.0])
def test_sigterm_to_the_group_while_the_study_starts_pauses_it(seconds: float, tmp_path: Path) -> None:
    write_study(tmp_path)
    process = start(tmp_path, "sweep", "tiny.toml")
    wait_for((tmp_path / "studies/tiny/control.json").exists)
    time.sleep(seconds)  # Ray starts meanwhile
    os.killpg(process.pid, signal.SIGTERM)
    result = wait_for_exit(process)
    assert result.code == 75, result.err
    assert "terminated (SIGTERM); run the same command to resume" in last_line(result)


AT_A_FORK = """
import os, signal, sys
from lpstudy.sweep import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sent = []
def send():
    if not sent:
        sent.append(True)
        signal.raise_signal(signal.{signal})
os.register_at_fork(before=send)
sys.exit(main(["tiny.toml"]))
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 75), ("SIGINT", 130)])
def test_a_signal_in_a_hook_of_a_fork_is_not_lost(name: str, code: int, tmp_path: Path) -> None:
    write_study(tmp_path)
    script = AT_A_FORK.format(signal=name)
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert result.returncode == code, result.stderr
    phase, end = result.stderr.splitlines()
    assert (phase, end.split(":")[0]) == ("starting Ray", "lpstudy sweep")


def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    write_study(tmp_path, LONG, FIXED, OFTEN)
    with (
        running_sweep(tmp_path, "--grace", "1000") as process,
        suspended_trials(process),
    ):  # no checkpoint will come
        process.send_signal(signal.SIGINT)
        wait_for(lambda: (tmp_path / "studies/tiny/control.json").read_text().count("pause"))
        time.sleep(1.5 * DUPLICATE_SECONDS)
        process.send_signal(signal.SIGINT)
        result = wait_for_exit(process)
    assert result.code == 130
    assert last_line(result) == "lpstudy sweep: interrupted; run the same command to resume"
