"""The phases of a study on Ray: the training of its teacher, then its trials and finals."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
from ray import tune

from lpstudy.data import Data, DataSpec, load
from lpstudy.disk import StorageError
from lpstudy.folder import Folder, LocalFolder
from lpstudy.ledger import Assignment, Ledger
from lpstudy.outputs import EpochResult
from lpstudy.space import ImportedCode, StudySpec, TeacherSpec, load_all
from lpstudy.study.cluster import (
    DRIVER_CPUS,
    QUERY_SECONDS,
    WAITING_CPUS,
    Capacity,
    StudyPaths,
    TrialResources,
    cluster_resources,
    cpus_per_gpu_share,
    machines,
    smallest_node,
    with_resolved_precision,
)
from lpstudy.study.control import IMMEDIATE_REQUESTS, ControlReader, PausedError, StudyControl
from lpstudy.study.restarting_task import RestartingTask, task
from lpstudy.study.search import Observer, TuneLauncher, run_tune
from lpstudy.study.trial import WORKERS, RunJob, StudyContext, device_of, run_in_actor, run_on_workers
from lpstudy.teacher import BankPlan, TrainedTeacher, load_or_train, teacher_folder
from lpstudy.training import checkpoint


def train_teacher(
    spec: StudySpec, data: Data, paths: StudyPaths, resources: TrialResources, control: StudyControl
) -> Iterator[EpochResult | TrainedTeacher]:
    """Train the teacher: yields its epochs and finally its file, at once if it has been trained before.

    Raises:
        DivergedError: Its loss is not finite.
        StorageError: A checkpoint cannot be written.
        PausedError: The study must not continue; the teacher has written a checkpoint.
        TaskError: Out of memory, or its process was lost too often in a row.
        ValueError, OSError: The data or the weights cannot be read on the teacher's node.
    """
    share = min(1.0, cluster_resources()[1]) if resources.gpus_per_trial else 0.0
    root = str(paths.data_root) if paths.data_root else None
    teacher = spec.teacher.model_copy(update={"weights": _shared_weights(spec.teacher.weights, paths)})
    task_args = paths.imported, teacher.model_dump_json(), spec.data.model_dump_json(), root, share
    control_reader = ControlReader(control.folder.url, control.token, ("stop", *IMMEDIATE_REQUESTS))
    requested_cpus = newest_epoch = 0

    def start() -> Any:
        nonlocal requested_cpus
        requested_cpus = cpus_per_gpu_share(share) if share else smallest_node()
        return task(_teach, cpus=requested_cpus, gpus=share).remote(*task_args, control_reader)

    def is_new(result: EpochResult | TrainedTeacher) -> bool:
        nonlocal newest_epoch
        if isinstance(result, TrainedTeacher):
            return True
        previous_epoch, newest_epoch = newest_epoch, max(newest_epoch, result.epoch)
        return newest_epoch > previous_epoch

    folder = teacher_folder(spec.teacher, data)
    task_results = RestartingTask(start, is_new, lambda: _newest_checkpoint(folder))
    with suppress(StopIteration):
        while True:
            if not ray.wait([task_results.results], timeout=QUERY_SECONDS, fetch_local=False)[0]:
                if (
                    not share
                    and not any(node.cpus >= requested_cpus for node in machines())
                    and smallest_node() < requested_cpus
                ):
                    task_results.restart()  # its large nodes have left the cluster, smaller ones have joined
            elif (result := task_results.next()) is not None:
                yield result
    control.check()


def _teach(
    imported: tuple[ImportedCode, ...],
    teacher: str,
    data: str,
    root: str | None,
    gpus: float,
    asking: ControlReader,
) -> Iterator[EpochResult | TrainedTeacher]:
    load_all(imported)
    spec = DataSpec.model_validate_json(data)
    split_data = load(spec, root=Path(root) if root else None)
    device = device_of(gpus=gpus)
    yield from load_or_train(TeacherSpec.model_validate_json(teacher), split_data, device=device, poll=asking)


def run(
    ledger: Ledger,
    teacher: TrainedTeacher,
    plan: BankPlan,
    paths: StudyPaths,
    capacity: Capacity,
    observer: Observer,
    control: StudyControl,
) -> None:
    """Run all trials and finals of the ledger; returns when none is left, or at stop or cancel.

    Args:
        ledger: The study's ledger, which has adopted its unfinished runs.
        teacher: The study's teacher.
        plan: The plan of the teacher's filled bank.
        paths: Folders of the study's files and data.
        capacity: The resources of a trial, and how many trials fit.
        observer: Called after every change of a run, in this thread.
        control: The study's current request.

    Raises:
        PausedError: The study is paused; every unfinished run has its checkpoint.
        UnwritableError: The ledger or a disk cannot be written.
        FencedError: Another process has taken the study over.
    """
    spec, resources = ledger.spec, capacity.resources
    shared = StudyContext(
        imported=paths.imported,
        data=spec.data,
        data_root=str(paths.data_root) if paths.data_root else None,
        teacher=with_resolved_precision(spec.teacher, resources),
        teacher_file=teacher,
        plan=plan,
        gpus=resources.gpus_per_trial,
        workers=resources.workers_per_trial,
    )
    hours = spec.budget.hours
    deadline = None if hours is None else time.monotonic() + 3600 * hours
    launcher = launcher_of(ledger, shared, paths, capacity, control)
    ended_folders: list[Folder] = []

    def observe(assignment: Assignment) -> None:
        if not ledger.is_running(assignment):
            ended_folders.append(run_folder(paths.folder, assignment))
            with suppress(StorageError):  # then they stay unread
                checkpoint.drop(ended_folders[-1])
                (ended_folders[-1] / WORKERS).clear()
        observer(assignment)

    def searching() -> bool:
        return deadline is None or time.monotonic() < deadline

    with _tune_folder(paths.folder) as folder:
        while True:
            run_tune(ledger, launcher, folder, searching=searching, observer=observe, control=control)
            shutil.rmtree(folder, ignore_errors=True)  # Tune's own state; the ledger has it all
            with suppress(StorageError):
                for one in ended_folders:  # a run that was stopped may have written another checkpoint
                    checkpoint.drop(one)
            match control.request:
                case "pause":
                    raise PausedError(control.current.why)
                case "cancel":
                    for assignment in ledger.cancel():
                        observe(assignment)
                    return
                case "stop":
                    return
            if not ledger.has_pending_runs(searching=searching()):
                return
            ledger.adopt_unfinished()  # a request was revoked while the last trials ended


def launcher_of(
    ledger: Ledger, shared: StudyContext, paths: StudyPaths, capacity: Capacity, control: StudyControl
) -> TuneLauncher:
    """The launcher of the ledger's runs: only finals read the test set, only trials are pruned."""
    spec, resources = ledger.spec, capacity.resources
    cpus = cpus_per_gpu_share(resources.gpus_per_trial)

    def config(assignment: Assignment) -> dict[str, Any]:
        arm = ledger.arms[assignment.arm]
        trial = arm.resolve(assignment.values, epochs=spec.budget.epochs, seed=assignment.seed)
        job = RunJob(
            shared=shared,
            trial=trial.model_copy(
                update={
                    "training": with_resolved_precision(trial.training, resources),
                    "student": trial.student.model_copy(
                        update={"weights": _shared_weights(trial.student.weights, paths)}
                    ),
                }
            ),
            final=assignment.kind == "final",
            folder=run_folder(paths.folder, assignment).url,
            control=control.folder.url,
            holder=control.token,
            key=assignment.key,
            rungs=ledger.rungs(assignment),
        )
        return {"job": job.model_dump_json(), "worker_cpus": cpus - WAITING_CPUS}

    return TuneLauncher(
        _tune_function(resources, cpus),
        config,
        concurrent=capacity,
        newest_checkpoint=lambda assignment: _newest_checkpoint(run_folder(paths.folder, assignment)),
        on_workers=resources.workers_per_trial > 1,
    )


def _shared_weights(weights: str | None, paths: StudyPaths) -> str | None:
    """The shared copy of a weights file; None if the network has no weights."""
    return None if weights is None else paths.weights.get(weights, weights)


def _newest_checkpoint(folder: Folder) -> str:
    """The name of a run's newest checkpoint; empty if there is none or the storage is unreachable."""
    with suppress(StorageError):
        return checkpoint.newest_name(folder)
    return ""


@contextmanager
def _tune_folder(study: Folder) -> Iterator[Path]:
    """A local folder for Tune's own state; with a remote one Tune would wait for an unreachable store."""
    if isinstance(study, LocalFolder):
        yield study.path / "tune"
    else:
        with TemporaryDirectory(prefix="lpstudy-") as temporary:
            yield Path(temporary) / "tune"


def run_folder(study: Folder, assignment: Assignment) -> Folder:
    """The folder of a run's checkpoints and weights."""
    return study / f"runs/{assignment.key}"


def _tune_function(resources: TrialResources, cpus: int) -> Any:
    if resources.workers_per_trial > 1:
        # The trial itself only waits; Ray Train requests its workers' resources itself.
        return tune.with_resources(run_on_workers, {"cpu": DRIVER_CPUS})
    bundle = {"cpu": float(cpus)} | ({"gpu": resources.gpus_per_trial} if resources.gpus_per_trial else {})
    return tune.with_resources(run_in_actor, bundle)
