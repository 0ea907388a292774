"""Epochs that take longer than the interval of checkpoints: studies stopped and killed within one."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import descendants, run, suspend, trial_processes, wait_for, wait_for_exit, write_study
from staging import FIXED, by_key, check_equal, check_study, exported_frames, last_line, running_sweep

pytestmark = pytest.mark.soak
LONG = (
    FIXED,
    ("labels_per_class = 5\n", ""),
    ("[training]\nbatch_size = 50", "[training]\nbatch_size = 2"),
    ("epochs = 2\n", "epochs = 4\n"),
    ("checkpoint_seconds = 0.0", "checkpoint_seconds = 0.5"),
    ("depth = 2\nwidth = 2\n", "depth = 4\nwidth = 32\n"),
    ("[methods.bp]", "[methods.kd]"),
)
"""An epoch of some seconds."""
STEPS = 600
"""Smallest number of steps of an epoch."""


def newest(folder: Path) -> dict[str, Any]:
    """The newest checkpoint within an epoch, as JSON; empty if there is none."""
    paths = sorted((folder / "studies/tiny/runs").glob("*/trial-0/checkpoint-*.json"))
    description: dict[str, Any] = json.loads(paths[-1].read_bytes()) if paths else {}
    return description if description.get("part") else {}


def stopped_within_an_epoch(folder: Path, *words: str) -> tuple[Path, Path, dict[str, Any]]:
    """A study stopped within an epoch, the folder of an equal new study, and the checkpoint of the first."""
    stopped, alone = folder / "stopped", folder / "alone"
    for one in (stopped, alone):
        one.mkdir()
        write_study(one, *LONG)
    with running_sweep(stopped, *words) as process:
        wait_for(lambda: is_early(newest(stopped)))
        process.send_signal(signal.SIGTERM)
        result = wait_for_exit(process)
    assert result.code == 75, last_line(result)
    checkpoint = newest(stopped)
    assert checkpoint, "it waited for the end of the epoch"
    return stopped, alone, checkpoint


def test_it_continues_in_the_epoch_and_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    words = ("--concurrent", "1")
    stopped, alone, checkpoint = stopped_within_an_epoch(tmp_path, *words)
    with running_sweep(stopped, *words) as process:
        further = wait_for(lambda: (now := newest(stopped)) and at(now) > at(checkpoint) and now)
        with suspend(trial_processes(process.pid)):
            for pid in trial_processes(process.pid):
                os.kill(pid, signal.SIGKILL)
        result = wait_for_exit(process)
    assert result.code == 0, result.err
    assert further["part"]["step"] > 0
    assert run(alone, "sweep", "tiny.toml", *words).code == 0
    check_study(stopped, 2)
    assert by_key(stopped)["kd-convnet-d4-w32/trial-0"].assignment.attempt == 3
    check_equal(stopped, alone)


def test_two_workers_continue_in_the_epoch_too(tmp_path: Path) -> None:
    words = ("--concurrent", "1", "--workers-per-trial", "2")
    stopped, alone, checkpoint = stopped_within_an_epoch(tmp_path, *words)
    with running_sweep(stopped, *words) as process:
        wait_for(lambda: (now := newest(stopped)) and at(now) > at(checkpoint))
        workers = [pid for pid, line in descendants(process.pid).items() if "RayTrainWorker" in line]
        os.kill(workers[1], signal.SIGKILL)
        result = wait_for_exit(process)
    assert result.code == 0, result.err
    assert run(alone, "sweep", "tiny.toml", *words).code == 0
    check_study(stopped, 2)
    assert by_key(stopped)["kd-convnet-d4-w32/trial-0"].assignment.attempt == 3
    # The running statistics of both went on from their mean, which is rounded.
    pd.testing.assert_frame_equal(
        exported_frames(stopped)["epochs"], exported_frames(alone)["epochs"], rtol=1e-5
    )


def is_early(checkpoint: dict[str, Any]) -> bool:
    """Whether the rest of the epoch takes longer than the study needs to receive a request."""
    return bool(checkpoint) and checkpoint["part"]["step"] < STEPS // 3


def at(checkpoint: dict[str, Any]) -> tuple[int, int]:
    """The position of the run: epoch and step."""
    return checkpoint["epoch"], checkpoint["part"]["step"]
