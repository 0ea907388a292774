"""A driver that is killed at random moments: the study has the same results."""

import random
import time
from pathlib import Path

import pytest
from commands import call, start, write_study
from staging import OFTEN, check_equal, check_study

from lpstudy import sweep

EPOCHS = {3: 250, 20: 800}
"""Epochs of a run, by the number of kills."""
SECONDS = {3: (6, 12), 20: (5, 25)}
"""Seconds from a start to its kill; Ray takes longer to start."""
BACKENDS = {3: ["--in-process"], 20: ["--concurrent", "1"]}
LEAST = {3: 1, 20: 20}
"""Smallest number of kills; a fast machine may finish the short study before the others."""
ARMS = ("[methods.bp]", "[methods.bp]\n[methods.lp]\nn_neighbors = 3")
TRIALS = ("trials = 1", "trials = 3")
RUNS = 8
"""Number of runs: two arms with three trials and a final each."""


def kills(folder: Path, times: int, seed: int) -> int:
    """Start the study and kill it at random moments; the number of kills before its end."""
    moments, kills = random.Random(seed), 0
    backend = BACKENDS[times]
    for _ in range(times):
        process = start(folder, "sweep", "tiny.toml", *backend)
        until = time.monotonic() + moments.uniform(*SECONDS[times])
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        kills += process.poll() is None
        process.kill()
        process.communicate()
    return kills


def to_its_end(folder: Path) -> None:
    result = call(sweep.main, folder, "tiny.toml", "--in-process")
    assert result.code == 0, result.err
    check_study(folder, RUNS)


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_a_study_whose_driver_is_killed_equals_one_that_was_left_alone(times: int, tmp_path: Path) -> None:
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    for folder in (disturbed, undisturbed):
        folder.mkdir()
        write_study(folder, ("epochs = 2\n", f"epochs = {EPOCHS[times]}\n"), ARMS, TRIALS, OFTEN)
    to_its_end(undisturbed)
    assert kills(disturbed, times, seed=times) >= LEAST[times]
    to_its_end(disturbed)
    check_equal(disturbed, undisturbed)
