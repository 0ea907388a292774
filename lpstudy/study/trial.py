"""A trial where it runs: in the Tune actor itself, or on the workers of a TorchTrainer that it starts."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from ray import train as ray_train
from ray import tune

from lpstudy.data import Data, DataSpec, load
from lpstudy.outputs import EpochResult
from lpstudy.space import TeacherSpec, Trial
from lpstudy.teacher import BankPlan, TeacherFile, open_targets
from lpstudy.training import DivergedError, Targets, train

WORKER_FAILURES = 2
"""How often Ray Train starts a trial's workers again before the trial has failed."""
WORKERS = "workers"
"""Folder of Ray Train's own state, within a run's."""
PACE = 1.0
"""Seconds of epochs that a report gathers; it costs the same however many they are."""


class Shared(BaseModel):
    """What all runs of a study have in common; travels to the actors as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataSpec
    data_root: str | None
    teacher: TeacherSpec
    teacher_file: TeacherFile
    plan: BankPlan
    gpus: float
    """Per trial; 0 trains on the CPU."""
    workers: int


class Job(BaseModel):
    """One run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shared: Shared
    trial: Trial
    final: bool
    folder: str


def run_in_actor(config: dict[str, Any]) -> None:
    """Tune function: the loop runs right here."""
    job = Job.model_validate_json(config["job"])
    held: list[EpochResult] = []
    told = time.monotonic()
    try:
        for result in _epochs(job):
            held.append(result)
            if result.epoch == job.trial.epochs or time.monotonic() - told >= PACE:
                tune.report(as_report(held))
                held, told = [], time.monotonic()
    except DivergedError as error:
        tune.report(as_report(held, error))


def run_on_workers(config: dict[str, Any]) -> None:
    """Tune function: the loop runs on Ray Train workers, whose reports are passed on."""
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    job = Job.model_validate_json(config["job"])
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
            storage_path=str(Path(job.folder).resolve()),
            callbacks=[TuneReportCallback()],  # type: ignore[no-untyped-call,list-item]  # Ray's own pattern
            failure_config=FailureConfig(
                max_failures=WORKER_FAILURES,
                controller_failure_limit=3,  # type: ignore[call-arg]  # Train V2 has it, its stub is V1
            ),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    trainer.fit()


def _worker(config: dict[str, Any]) -> None:
    try:
        for result in _epochs(Job.model_validate_json(config["job"])):
            ray_train.report(as_report([result]))  # the workers wait for each other: as many of each
    except DivergedError as error:
        ray_train.report(as_report([], error))


def _epochs(job: Job) -> Iterator[EpochResult]:
    device = device_of(gpus=job.shared.gpus)
    data, teacher = _opened(job.shared.model_dump_json(), device)
    yield from train(job.trial, data, teacher, device=device, folder=Path(job.folder), read_test=job.final)


def as_report(results: Sequence[EpochResult], error: DivergedError | None = None) -> dict[str, Any]:
    """Epochs as they travel through Tune, which would flatten a nested dictionary; why a run diverged."""
    epoch = results[-1].epoch if results else 0  # Tune ends the study at a report without its metric
    failed = {} if error is None else {"failed": f"nan: {error}"}
    return {"epoch": epoch, "report": json.dumps([asdict(result) for result in results]), **failed}


def as_results(report: dict[str, Any]) -> list[EpochResult]:
    """The epochs that a report tells of."""
    return [EpochResult(r["epoch"], r["metrics"], tuple(r["warnings"])) for r in json.loads(report["report"])]


def device_of(*, gpus: float) -> torch.device:
    """The GPU that Ray gave, or the CPU with as many threads as CPUs were given."""
    if gpus:
        return torch.device("cuda", torch.cuda.current_device())
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return torch.device("cpu")


@lru_cache(maxsize=1)
def _opened(shared: str, device: torch.device) -> tuple[Data, Targets]:
    """The study's data with the views that its students see, and its teacher's outputs; once a process."""
    told = Shared.model_validate_json(shared)
    data = load(told.data, root=Path(told.data_root) if told.data_root else None)
    teacher = open_targets(told.plan, told.teacher_file, told.teacher, data, device=device)
    return data.using(told.plan.views).on(device), teacher
