"""The training of one run, in a Tune actor or on the Ray Train workers that it starts."""

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
from lpstudy.one_line import one_line
from lpstudy.outputs import EpochResult
from lpstudy.space import LoadedCode, RunSpec, TeacherSpec
from lpstudy.students import locate_weights, read_weights_file
from lpstudy.study.cluster import ray_storage
from lpstudy.study.control import ControlReader
from lpstudy.study.failures import PAUSED, REPORTABLE_ERRORS, encode_failure, encode_first_failure
from lpstudy.study.mapped_files import MappedFiles
from lpstudy.teacher import BankPlan, TrainedTeacher, open_teacher_outputs
from lpstudy.training import Directive, DivergedError, TeacherOutputs, train

WORKERS = "workers"
"""Subfolder of a run's folder with Ray Train's own state."""
VARIABLES = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600"}
"""How often results are fetched, and how long (four times) to wait for a node that has left."""
REPORT_SECONDS = 1.0
"""Seconds of epochs in one report between two rungs; a report costs the same for any number of epochs."""


CUDA_BYTES = 600_000_000
"""GPU memory that a process takes besides torch's: expected, not measured."""


class StudyContext(BaseModel):
    """The settings that all runs of a study share; sent to the actors as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    imported: LoadedCode = ()
    """The code of one's own; the fields after it, and the run, may name what it adds."""
    data: DataSpec
    data_root: str | None
    teacher: TeacherSpec
    teacher_file: TrainedTeacher
    plan: BankPlan
    gpus: float
    """GPUs per trial; 0 trains on the CPU."""
    workers: int


class RunJob(BaseModel):
    """The settings of one run; sent to its actor as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shared: StudyContext
    trial: RunSpec
    final: bool
    folder: str
    """The run's folder, as `folder_at` parses it."""
    control: str
    """The folder of the control file."""
    holder: str
    """The token of the process that runs the study."""
    key: str
    """The run's key."""
    rungs: tuple[int, ...]
    """Epochs after which the run may be pruned; there it waits for the driver's decision."""


def run_in_actor(config: dict[str, Any]) -> None:
    """Tune function that trains in the actor itself."""
    job = RunJob.model_validate_json(config["job"])
    for results, end in group_reports(_epochs(job), job.rungs, epochs=job.trial.epochs):
        tune.report(as_report(results, end))  # returns once the driver lets the trial continue


def group_reports(
    results: Iterable[EpochResult], rungs: Container[int], *, epochs: int
) -> Iterator[tuple[list[EpochResult], str]]:
    """Reports for the driver: groups of epochs, and the reason why the trial ends early, else empty.

    A report ends with each rung, at which the trial may be pruned, and with the last epoch.
    """
    unreported: list[EpochResult] = []
    reported_at, epoch = time.monotonic(), 0
    try:
        for result in results:
            unreported.append(result)
            epoch = result.epoch
            if epoch == epochs or epoch in rungs or time.monotonic() - reported_at >= REPORT_SECONDS:
                yield unreported, ""
                unreported, reported_at = [], time.monotonic()
        if epoch < epochs:
            yield unreported, PAUSED
    except REPORTABLE_ERRORS as error:
        yield unreported, encode_failure(error)


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
                max_failures=0,  # Tune restarts the trial, as another attempt
                controller_failure_limit=3,  # type: ignore[call-arg]  # Train V2 has it, its stub is V1
            ),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:  # one worker's; the others fail because it is gone
        tune.report(as_report([], encode_first_failure(list(error.worker_failures.values()))))


def _worker(config: dict[str, Any]) -> None:
    job = RunJob.model_validate_json(config["job"])
    epoch = 0
    try:
        for result in _epochs(job):
            epoch = result.epoch
            ray_train.report(as_report([result]))  # workers wait for each other: each reports every epoch
        if epoch < job.trial.epochs:
            ray_train.report(as_report([], PAUSED))
    except DivergedError as error:  # all workers see it: they share the loss
        ray_train.report(as_report([], encode_failure(error)))


def _epochs(job: RunJob) -> Iterator[EpochResult]:
    try:
        device = device_of(gpus=job.shared.gpus)
        data, teacher, mapped_files = _load_inputs(job.shared.model_dump_json(), device)
        if job.trial.student.weights is not None:
            _check_copy(job.trial.student.weights)
    except (OSError, ValueError) as error:  # not the trial's fault: the next start recomputes lost files
        message = one_line(error)
        raise UnreachableError(errno.EIO, f"data or teacher's outputs cannot be read: {message}") from error
    control_reader = ControlReader(job.control, job.holder, key=job.key)

    def poll() -> Directive:
        mapped_files.check()
        return control_reader()

    yield from train(
        job.trial,
        data,
        teacher,
        device=device,
        folder=folder_at(job.folder),
        read_test=job.final,
        poll=poll,
    )


def _check_copy(weights: str) -> None:
    """Check a weights file in the cache against its SHA-256, which is its name.

    Raises:
        OSError: The file is missing or cannot be read.
        ValueError: The file is damaged.
    """
    folder, name = locate_weights(weights)
    read_weights_file(folder, name, sha256=name.partition(".")[0])


def as_report(results: Sequence[EpochResult], end: str = "") -> dict[str, Any]:
    """A Tune report of epochs (as JSON: Tune flattens nested dicts) and the reason of an early end."""
    epoch = results[-1].epoch if results else 0  # Tune fails at a report without its metric
    return {"epoch": epoch, "report": json.dumps([result.as_row() for result in results]), "end": end}


def as_results(report: dict[str, Any]) -> list[EpochResult]:
    """The epochs of a Tune report."""
    return [EpochResult.from_row(row) for row in json.loads(report["report"])]


def device_of(*, gpus: float) -> torch.device:
    """The GPU that Ray assigned, or the CPU; also sets torch's number of threads."""
    torch.set_num_threads(environment.threads() or 1)
    if not gpus:
        return torch.device("cpu")
    device = torch.device("cuda", torch.cuda.current_device())
    if gpus < 1:  # else a process may fail for its neighbours' memory
        share = memory_share(gpus, torch.cuda.get_device_properties(device).total_memory)
        torch.cuda.set_per_process_memory_fraction(share, device)
    return device


def memory_share(gpus: float, total: int) -> float:
    """The fraction of a GPU's memory (`total` bytes) that torch may use in a process with a share of the GPU.

    The memory of CUDA and its libraries is deducted from the share, but at most half of it.
    """
    return max(gpus - CUDA_BYTES / total, gpus / 2)


@lru_cache(maxsize=1)
def _load_inputs(shared: str, device: torch.device) -> tuple[Data, TeacherOutputs, MappedFiles]:
    """The study's data with its students' views, and its teacher's outputs; loaded once per process."""
    context = StudyContext.model_validate_json(shared)
    data = load(context.data, root=Path(context.data_root) if context.data_root else None)
    teacher = open_teacher_outputs(context.plan, context.teacher_file, context.teacher, data, device=device)
    mapped_files = MappedFiles(cache_folder())  # before their content is copied to a GPU and unmapped
    return data.with_views(context.plan.views).to(device), teacher, mapped_files
