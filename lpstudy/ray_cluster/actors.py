"""The training of one run in a Tune actor, or on the Ray Train workers that it starts."""

import json
import os
from collections.abc import Sequence
from typing import Any

from ray import train as ray_train
from ray import tune

from lpstudy.folder import folder_at
from lpstudy.outputs import EpochResult
from lpstudy.ray_cluster.cluster import ray_storage
from lpstudy.study.run_end import PAUSE, RunEnd, end_of, first_end
from lpstudy.study.run_epochs import run_epochs, run_reports
from lpstudy.study.run_job import WORKERS, RunJob
from lpstudy.training import DivergedError

VARIABLES = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600"}
"""How often results are fetched, and how long (four times) to wait for a node that has left."""


def run_in_actor(config: dict[str, Any]) -> None:
    """Tune function that trains in the actor itself."""
    for results, end in run_reports(RunJob.model_validate_json(config["job"])):
        tune.report(as_report(results, end))  # returns once the driver lets the run continue


def run_on_workers(config: dict[str, Any]) -> None:
    """Tune function that trains on Ray Train workers and forwards their reports."""
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)  # Ray Train passes them to its controller and workers
    job = RunJob.model_validate_json(config["job"])
    gpus = job.shared.gpus
    per_worker = {"CPU": config["worker_cpus"]} | ({"GPU": gpus} if gpus else {})
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": config["job"]},
        scaling_config=ScalingConfig(
            num_workers=job.shared.workers, use_gpu=bool(gpus), resources_per_worker=per_worker
        ),
        run_config=RunConfig(
            name=WORKERS,
            **ray_storage(folder_at(job.folder)),
            callbacks=[TuneReportCallback()],  # type: ignore[no-untyped-call,list-item]  # Ray's own pattern
            failure_config=FailureConfig(
                max_failures=0,  # Tune restarts the run, as another attempt
                controller_failure_limit=3,  # type: ignore[call-arg]  # Train V2 has it, its stub is V1
            ),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:  # one worker's; the others fail because it is gone
        tune.report(as_report([], first_end(list(error.worker_failures.values()))))


def _worker(config: dict[str, Any]) -> None:
    job = RunJob.model_validate_json(config["job"])
    epoch = 0
    try:
        for result in run_epochs(job):
            epoch = result.epoch
            ray_train.report(as_report([result]))  # workers wait for each other: each reports every epoch
        if epoch < job.trial.epochs:
            ray_train.report(as_report([], PAUSE))
    except DivergedError as error:  # all workers see it: they share the loss
        ray_train.report(as_report([], end_of(error)))


def as_report(results: Sequence[EpochResult], end: RunEnd | None = None) -> dict[str, Any]:
    """A Tune report of epochs and of an early end, both as JSON: Tune flattens nested dicts."""
    epoch = results[-1].epoch if results else 0  # Tune fails at a report without its metric
    rows = json.dumps([result.as_row() for result in results])
    return {"epoch": epoch, "report": rows, "end": "" if end is None else end.to_json()}


def from_report(report: dict[str, Any]) -> tuple[list[EpochResult], RunEnd | None]:
    """The epochs and the early end of a Tune report."""
    results = [EpochResult.from_row(row) for row in json.loads(report["report"])]
    return results, RunEnd.from_json(report["end"]) if report["end"] else None
