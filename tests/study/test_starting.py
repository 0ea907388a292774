"""The start of a study's trials."""

import os
import time
from pathlib import Path
from typing import Any

from ray import tune
from tune_driver import DONE, run_in_tune

from lpstudy.ray_cluster.cluster import cluster_resources
from lpstudy.ray_cluster.session import ray_session
from lpstudy.study import TrialResources


def test_processes_are_started_at_once_and_each_runs_many_trials(tmp_path: Path) -> None:
    started, ran = tmp_path / "started", tmp_path / "ran"
    started.mkdir()
    ran.mkdir()
    driver = os.getpid()

    class Starting:
        """A function that waits in a trial until another trial has started; Ray pickles it by value."""

        def __setstate__(self, state: dict[str, Any]) -> None:
            if os.getpid() == driver:  # where Tune copies it
                return
            (started / str(os.getpid())).touch()
            deadline = time.monotonic() + 60
            while len(list(started.iterdir())) < 2:
                if time.monotonic() > deadline:
                    raise TimeoutError("no other process was started meanwhile")
                time.sleep(0.05)

        def __getstate__(self) -> dict[str, Any]:
            return {"so that": "it is set"}

    starting = Starting()

    def end(config: dict[str, Any]) -> None:
        assert starting is not None
        (ran / str(config["number"])).write_text(str(os.getpid()))
        tune.report(DONE)

    with ray_session():
        assert cluster_resources()[0] >= 2
        ledger = run_in_tune(tmp_path, end, TrialResources(concurrent=2), ("trials = 1", "trials = 6"))
    assert {(r.state, r.assignment.attempt) for r in ledger.records()} == {("finished", 1)}
    numbers = {path.name: path.read_text() for path in ran.iterdir()}
    assert len(numbers) == 7
    assert len(set(numbers.values())) <= 2  # of seven runs
