"""A ledger's runs in Ray Tune, with a test's function in place of the training."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from driver_parts import AssignmentJobs, tiny_ledger
from ray import tune

from lpstudy.folder import LocalFolder
from lpstudy.ledger import Assignment, Ledger
from lpstudy.outputs import EpochResult
from lpstudy.ray_cluster.actors import as_report
from lpstudy.ray_cluster.cluster import Capacity
from lpstudy.ray_cluster.tune import TuneLauncher, run_tune
from lpstudy.study import Driver, StudyControl, TrialResources

DONE = as_report(
    [EpochResult(epoch, {"validation_accuracy": 50.0, "test_accuracy": 50.0}) for epoch in (1, 2)]
)
"""The report of a run that has finished its two epochs."""


def run_in_tune(
    folder: Path,
    function: Callable[[dict[str, Any]], None],
    resources: TrialResources,
    *changes: tuple[str, str],
    newest_checkpoint: Callable[[Assignment], str] = lambda assignment: "",
) -> Ledger:
    """Run the tiny study with some lines changed in this Ray session; each config has a number."""
    ledger = tiny_ledger(folder, *changes)
    numbers = itertools.count()
    launcher = TuneLauncher(
        tune.with_resources(function, {"cpu": 1.0, "gpu": resources.gpus_per_trial}),
        lambda job: {"number": next(numbers)},
        Capacity(resources),
        reuse_actors=True,
    )
    control = StudyControl(LocalFolder(folder), "test")
    run_tune(Driver(ledger, control, AssignmentJobs(newest_checkpoint), print), launcher, folder / "tune")
    return ledger
