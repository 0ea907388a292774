"""A trial where it runs: in the Tune actor itself, or on the workers of a TorchTrainer that it starts."""

import errno
import json
import os
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from ray import train as ray_train
from ray import tune

from lpstudy import environment
from lpstudy.data import Data, DataSpec, cache_folder, load
from lpstudy.disk import UnreachableError
from lpstudy.folder import folder_at
from lpstudy.outputs import EpochResult
from lpstudy.space import RunSpec, TeacherSpec
from lpstudy.students import locate_weights, read_weights_file
from lpstudy.study.cluster import ray_storage
from lpstudy.study.control import ControlReader
from lpstudy.study.failures import PAUSED, REPORTABLE_ERRORS, encode_failure, encode_first_failure
from lpstudy.study.mapped import Mapped
from lpstudy.teacher import BankPlan, TrainedTeacher, open_teacher_outputs
from lpstudy.training import Directive, DivergedError, TeacherOutputs, train

WORKERS = "workers"
"""Folder of Ray Train's own state, within a run's."""
VARIABLES = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600"}
"""Results are fetched this often; a node that has left is waited for this long, four times."""
PACE = 1.0
"""Seconds of epochs that a report gathers between two rungs; it costs the same however many they are."""


CUDA_BYTES = 600_000_000
"""Of a GPU's memory that a process takes beside torch's: expected, not measured."""


class StudyContext(BaseModel):
    """What all runs of a study have in common; travels to the actors as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataSpec
    data_root: str | None
    teacher: TeacherSpec
    teacher_file: TrainedTeacher
    plan: BankPlan
    gpus: float
    """Per trial; 0 trains on the CPU."""
    workers: int


class RunJob(BaseModel):
    """One run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shared: StudyContext
    trial: RunSpec
    final: bool
    folder: str
    """As `folder_at` finds it."""
    control: str
    """Folder of the file by which the study is paused."""
    holder: str
    """Token of the process that runs the study."""
    key: str
    """Of the run."""
    rungs: tuple[int, ...]
    """Epochs after which it may be pruned; it waits there for the driver's answer."""


def run_in_actor(config: dict[str, Any]) -> None:
    """Tune function: the loop runs right here."""
    job = RunJob.model_validate_json(config["job"])
    for held, end in gathered(_epochs(job), job.rungs, epochs=job.trial.epochs):
        tune.report(as_report(held, end))  # returns once the driver has decided that the trial goes on


def gathered(
    results: Iterable[EpochResult], rungs: Container[int], *, epochs: int
) -> Iterator[tuple[list[EpochResult], str]]:
    """What the driver is told, report by report: epochs, and why the trial ends where it ends early.

    A report ends with each rung, at which the trial may be pruned, and with the last epoch.
    """
    held: list[EpochResult] = []
    told, epoch = time.monotonic(), 0
    try:
        for result in results:
            held.append(result)
            epoch = result.epoch
            if epoch == epochs or epoch in rungs or time.monotonic() - told >= PACE:
                yield held, ""
                held, told = [], time.monotonic()
        if epoch < epochs:
            yield held, PAUSED
    except REPORTABLE_ERRORS as error:
        yield held, encode_failure(error)


def run_on_workers(config: dict[str, Any]) -> None:
    """Tune function: the loop runs on Ray Train workers, whose reports are passed on."""
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)  # Ray Train hands its own on to its controller and workers
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
                max_failures=0,  # Tune starts the trial again, as another attempt
                controller_failure_limit=3,  # type: ignore[call-arg]  # Train V2 has it, its stub is V1
            ),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:  # of one worker; the others fail for that it is gone
        tune.report(as_report([], encode_first_failure(list(error.worker_failures.values()))))


def _worker(config: dict[str, Any]) -> None:
    job = RunJob.model_validate_json(config["job"])
    epoch = 0
    try:
        for result in _epochs(job):
            epoch = result.epoch
            ray_train.report(as_report([result]))  # the workers wait for each other: as many of each
        if epoch < job.trial.epochs:
            ray_train.report(as_report([], PAUSED))
    except DivergedError as error:  # all workers see it: the loss is theirs together
        ray_train.report(as_report([], encode_failure(error)))


def _epochs(job: RunJob) -> Iterator[EpochResult]:
    try:
        device = device_of(gpus=job.shared.gpus)
        data, teacher, mapped = _opened(job.shared.model_dump_json(), device)
        if job.trial.student.weights is not None:
            _check_copy(job.trial.student.weights)
    except (OSError, ValueError) as error:  # of no trial's making: the next start makes what is lost anew
        said = " ".join(str(error).split())
        raise UnreachableError(errno.EIO, f"data or teacher's outputs cannot be read: {said}") from error
    hearing = ControlReader(job.control, job.holder, key=job.key)

    def asking() -> Directive:
        mapped.check()
        return hearing()

    yield from train(
        job.trial,
        data,
        teacher,
        device=device,
        folder=folder_at(job.folder),
        read_test=job.final,
        poll=asking,
    )


def _check_copy(weights: str) -> None:
    """See that a copy in the cache, which is named by its SHA-256, is whole.

    Raises:
        OSError: It is not there, or cannot be read.
        ValueError: It is damaged.
    """
    folder, name = locate_weights(weights)
    read_weights_file(folder, name, sha256=name.partition(".")[0])


def as_report(results: Sequence[EpochResult], end: str = "") -> dict[str, Any]:
    """Epochs as they travel through Tune, which would flatten a nested dictionary; why a run ends early."""
    epoch = results[-1].epoch if results else 0  # Tune ends the study at a report without its metric
    return {"epoch": epoch, "report": json.dumps([result.as_row() for result in results]), "end": end}


def as_results(report: dict[str, Any]) -> list[EpochResult]:
    """The epochs that a report tells of."""
    return [EpochResult.from_row(row) for row in json.loads(report["report"])]


def device_of(*, gpus: float) -> torch.device:
    """The GPU that Ray gave, or the CPU; torch and who decodes images have the threads of the CPUs given."""
    torch.set_num_threads(environment.threads() or 1)
    if not gpus:
        return torch.device("cpu")
    device = torch.device("cuda", torch.cuda.current_device())
    if gpus < 1:  # or who asks last fails for what its neighbours hold
        share = memory_share(gpus, torch.cuda.get_device_properties(device).total_memory)
        torch.cuda.set_per_process_memory_fraction(share, device)
    return device


def memory_share(gpus: float, total: int) -> float:
    """The part of a GPU's memory, in bytes, that torch may hold in a process that has a share of the GPU.

    What CUDA and its libraries hold beside torch comes out of the share; where it is small, a half of it.
    """
    return max(gpus - CUDA_BYTES / total, gpus / 2)


@lru_cache(maxsize=1)
def _opened(shared: str, device: torch.device) -> tuple[Data, TeacherOutputs, Mapped]:
    """The study's data with the views that its students see, and its teacher's outputs; once a process."""
    told = StudyContext.model_validate_json(shared)
    data = load(told.data, root=Path(told.data_root) if told.data_root else None)
    teacher = open_teacher_outputs(told.plan, told.teacher_file, told.teacher, data, device=device)
    mapped = Mapped(cache_folder())  # before what they hold is copied to a GPU and let go
    return data.with_views(told.plan.views).to(device), teacher, mapped
