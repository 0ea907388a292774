"""The training of one run's job, and the reports that its driver receives."""

import errno
import time
from collections.abc import Container, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import torch

from lpstudy import environment
from lpstudy.data import Data, load
from lpstudy.disk import UnreachableError
from lpstudy.folder import folder_at
from lpstudy.one_line import one_line
from lpstudy.outputs import EpochResult
from lpstudy.students import locate_weights, read_weights_file
from lpstudy.study.control import ControlReader
from lpstudy.study.run_end import PAUSE, REPORTABLE_ERRORS, RunEnd, end_of
from lpstudy.study.run_job import RunJob, StudyContext
from lpstudy.teacher import open_teacher_outputs
from lpstudy.training import TeacherOutputs, train

REPORT_SECONDS = 1.0
"""Seconds of epochs in one report between two rungs; a report costs the same for any number of epochs."""
CUDA_BYTES = 600_000_000
"""GPU memory that a process takes besides torch's: expected, not measured."""


def run_reports(job: RunJob) -> Iterator[tuple[list[EpochResult], RunEnd | None]]:
    """Train a run: yields its reports for the driver, see `group_reports`."""
    return group_reports(run_epochs(job), job.rungs, epochs=job.trial.epochs)


def group_reports(
    results: Iterable[EpochResult], rungs: Container[int], *, epochs: int
) -> Iterator[tuple[list[EpochResult], RunEnd | None]]:
    """Reports for the driver: groups of epochs, and how the run ends if it ends early.

    A report ends with each rung, at which the trial may be pruned, and with the last epoch.
    """
    unreported: list[EpochResult] = []
    reported_at, epoch = time.monotonic(), 0
    try:
        for result in results:
            unreported.append(result)
            epoch = result.epoch
            if epoch == epochs or epoch in rungs or time.monotonic() - reported_at >= REPORT_SECONDS:
                yield unreported, None
                unreported, reported_at = [], time.monotonic()
        if epoch < epochs:
            yield unreported, PAUSE
    except REPORTABLE_ERRORS as error:
        yield unreported, end_of(error)


def run_epochs(job: RunJob) -> Iterator[EpochResult]:
    """Train a run: yields its epochs, all unless the study is paused or the run is ended.

    Raises:
        DivergedError: The loss is not finite.
        StorageError: Data, the teacher's outputs or checkpoints cannot be read or written.
    """
    try:
        device = device_of(gpus=job.shared.gpus)
        data, teacher = load_inputs(job.shared.model_dump_json(), device)
        if job.trial.student.weights is not None:
            _check_copy(job.trial.student.weights)
    except (OSError, ValueError) as error:  # not the run's fault: the next start recomputes lost files
        reason = f"data or teacher's outputs cannot be read: {one_line(error)}"
        raise UnreachableError(errno.EIO, reason) from error
    yield from train(
        job.trial,
        data,
        teacher,
        device=device,
        gpus=job.shared.gpus,
        folder=folder_at(job.folder),
        read_test=job.final,
        poll=ControlReader(job.control, job.holder, key=job.key),
    )


def _check_copy(weights: str) -> None:
    """Check a weights file in the cache against its SHA-256, which is its name.

    Raises:
        OSError: The file is missing or cannot be read.
        ValueError: The file is damaged.
    """
    folder, name = locate_weights(weights)
    read_weights_file(folder, name, sha256=name.partition(".")[0])


@lru_cache(maxsize=1)
def load_inputs(shared: str, device: torch.device) -> tuple[Data, TeacherOutputs]:
    """The study's data with its students' views, and its teacher's outputs; loaded once per process."""
    context = StudyContext.model_validate_json(shared)
    data = load(context.data, root=Path(context.data_root) if context.data_root else None)
    teacher = open_teacher_outputs(context.plan, context.teacher_file, context.teacher, data, device=device)
    return context.shift.apply(data.with_views(context.plan.views)).to(device), teacher


def device_of(*, gpus: float) -> torch.device:
    """The GPU that this process was assigned, or the CPU; also sets torch's number of threads."""
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
