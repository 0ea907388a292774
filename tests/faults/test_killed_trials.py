"""Trials whose processes die go on as another attempt, or fail with their cause; others do not notice."""

import os
import signal
import time
from pathlib import Path

import pytest
from running import descendants, ended, of_trials, start, wait_for, write_space
from staging import EPOCHS, FIXED, LONG, OFTEN, begun, by_key, whole

pytestmark = pytest.mark.soak
ATTEMPTS = 3


def test_after_three_attempts_a_trial_has_failed_and_the_next_one_runs(tmp_path: Path) -> None:
    write_space(tmp_path, LONG, FIXED, OFTEN, ("trials = 1", "trials = 2"))
    with begun(tmp_path, "--concurrent", "1") as process:
        killed: set[int] = set()
        while len(killed) < ATTEMPTS and process.poll() is None:
            for pid in set(of_trials(process.pid)) - killed:
                record = by_key(tmp_path)["bp-convnet-d2-w2/trial-0"]
                if len(record.epochs) >= 1 and record.state == "running":
                    time.sleep(1.0)  # until the process has taken the trial up
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            time.sleep(0.05)
        left = ended(process)
    assert left.code == 0, left.err
    found = by_key(tmp_path)
    failed = found["bp-convnet-d2-w2/trial-0"]
    assert (failed.state, failed.assignment.attempt) == ("failed", ATTEMPTS)
    assert "died" in str(failed.cause)
    assert [epoch.epoch for epoch in failed.epochs] == list(range(1, len(failed.epochs) + 1))
    other = found["bp-convnet-d2-w2/trial-1"]
    assert (other.state, other.assignment.attempt) == ("finished", 1)


def test_one_of_two_train_workers_is_killed_and_the_trial_goes_on(tmp_path: Path) -> None:
    write_space(tmp_path, LONG, FIXED, OFTEN)
    key = "bp-convnet-d2-w2/trial-0"
    with begun(tmp_path, "--workers-per-trial", "2") as process:
        reached = wait_for(lambda: len(by_key(tmp_path)[key].epochs))
        workers = [pid for pid, line in descendants(process.pid).items() if "RayTrainWorker" in line]
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        left = ended(process)
    assert left.code == 0, left.err
    whole(tmp_path, 2)
    assert reached < EPOCHS
    attempts = {name: record.assignment.attempt for name, record in by_key(tmp_path).items()}
    assert attempts == {key: 2, "bp-convnet-d2-w2/final-0-seed-1": 1}


def test_a_study_whose_bank_workers_are_killed_trains_all_its_trials(tmp_path: Path) -> None:
    write_space(
        tmp_path,
        FIXED,
        ('kind = "digits"', 'kind = "digits"\npad = 4\nflip = true'),
        ('family = "convnet"\ndepth = 2\nwidth = 4', 'views = 162\nfamily = "convnet"\ndepth = 2\nwidth = 4'),
        ("[methods.bp]", "[methods.kd]"),
        ("labels_per_class = 5\n", ""),
    )
    cache = tmp_path / "cache"
    words = ["--workers-per-trial", "2"]  # all the cores of a small machine
    process = start(tmp_path, "sweep", "tiny.toml", *words, LPSTUDY_CACHE=str(cache))

    def filling() -> list[int]:
        valid = list(cache.glob("banks/*/views/*.json"))
        return [pid for pid, line in descendants(process.pid).items() if valid and "ray::_fill" in line]

    try:
        workers = wait_for(filling)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        left = ended(process)
    finally:
        process.kill()
    assert left.code == 0, left.err
    whole(tmp_path, 2)
