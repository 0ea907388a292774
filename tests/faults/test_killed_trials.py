"""Trials whose processes die: they resume as another attempt or fail with the cause, and others continue."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from commands import descendants, start, suspend, trial_processes, wait_for, wait_for_exit, write_study
from staging import EPOCHS, FIXED, LONG, OFTEN, by_key, check_study, checkpoints, running_sweep

pytestmark = pytest.mark.soak


def test_it_repeats_a_checkpoint_interval_at_most_and_its_neighbour_nothing(tmp_path: Path) -> None:
    interval = 2.0
    rarely = ("checkpoint_seconds = 0.0", f"checkpoint_seconds = {interval}")
    write_study(tmp_path, ("epochs = 2\n", "epochs = 2000\n"), FIXED, rarely, ("trials = 1", "trials = 2"))
    with running_sweep(tmp_path, "--concurrent", "2") as process:
        wait_for(lambda: len({path.parent for path in checkpoints(tmp_path)}) == 2)
        time.sleep(1.5 * interval)
        victim = trial_processes(process.pid)[0]
        with suspend(trial_processes(process.pid)):
            epochs_of = {key: record.epochs for key, record in by_key(tmp_path).items()}
            checkpoints_of = newest(tmp_path)
            os.kill(victim, signal.SIGKILL)
        result = wait_for_exit(process)
    assert result.code == 0, result.err
    check_study(tmp_path, 3)
    assert set(epochs_of) == set(checkpoints_of) == {f"bp-convnet-d2-w2/trial-{number}" for number in (0, 1)}
    for key, epochs in epochs_of.items():
        seconds = [epoch.metrics["seconds"] for epoch in epochs]
        repeated = seconds[-1] - seconds[min(checkpoints_of[key], len(seconds)) - 1]
        assert repeated <= interval + 1.0, (key, repeated)  # an epoch and the writing come on top
    ledger_runs = by_key(tmp_path)
    assert sorted(ledger_runs[key].assignment.attempt for key in epochs_of) == [1, 2]
    for key, epochs in epochs_of.items():
        assert ledger_runs[key].epochs[: len(epochs)] == epochs


def newest(folder: Path) -> dict[str, int]:
    """The epoch of each run's newest checkpoint."""
    epochs: dict[str, int] = {}
    for path in checkpoints(folder):
        key = f"{path.parts[-3]}/{path.parts[-2]}"
        epochs[key] = max(epochs.get(key, 0), json.loads(path.read_bytes())["epoch"])
    return epochs


def test_one_of_two_train_workers_is_killed_and_the_trial_continues(tmp_path: Path) -> None:
    write_study(tmp_path, LONG, FIXED, OFTEN)
    key = "bp-convnet-d2-w2/trial-0"
    with running_sweep(tmp_path, "--workers-per-trial", "2") as process:
        epoch = wait_for(lambda: len(by_key(tmp_path)[key].epochs))
        workers = [pid for pid, line in descendants(process.pid).items() if "RayTrainWorker" in line]
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        result = wait_for_exit(process)
    assert result.code == 0, result.err
    check_study(tmp_path, 2)
    assert epoch < EPOCHS
    attempts = {name: record.assignment.attempt for name, record in by_key(tmp_path).items()}
    assert attempts == {key: 2, "bp-convnet-d2-w2/final-0-seed-1": 1}


def test_a_study_whose_bank_workers_are_killed_trains_all_its_trials(tmp_path: Path) -> None:
    write_study(
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
        result = wait_for_exit(process)
    finally:
        process.kill()
    assert result.code == 0, result.err
    check_study(tmp_path, 2)
