"""A study from its teacher to its finals, on the Ray cluster of the session."""

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
from lpstudy.space import StudySpec, TeacherSpec
from lpstudy.study.cluster import (
    DRIVER_CPUS,
    LOOK_SECONDS,
    WAITING_CPUS,
    Capacity,
    Place,
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
    spec: StudySpec, data: Data, place: Place, resources: TrialResources, control: StudyControl
) -> Iterator[EpochResult | TrainedTeacher]:
    """The teacher's epochs as they end, and at last its file; at once where it is known already.

    Raises:
        DivergedError: Its loss is not finite.
        StorageError: A checkpoint cannot be written.
        PausedError: Something else than to go on is wished; the teacher has written a checkpoint.
        TaskError: Out of memory, or its process was lost too often in a row.
        ValueError, OSError: The data or the weights cannot be read where it is trained.
    """
    share = min(1.0, cluster_resources()[1]) if resources.gpus_per_trial else 0.0
    root = str(place.data_root) if place.data_root else None
    teacher = spec.teacher.model_copy(update={"weights": _shared(spec.teacher.weights, place)})
    told = teacher.model_dump_json(), spec.data.model_dump_json(), root, share
    hearing = ControlReader(control.folder.url, control.token, ("stop", *IMMEDIATE_REQUESTS))
    asked = newest = 0

    def begin() -> Any:
        nonlocal asked
        asked = cpus_per_gpu_share(share) if share else smallest_node()
        return task(_teach, cpus=asked, gpus=share).remote(*told, hearing)

    def new(result: EpochResult | TrainedTeacher) -> bool:
        nonlocal newest
        if isinstance(result, TrainedTeacher):
            return True
        before, newest = newest, max(newest, result.epoch)
        return newest > before

    folder = teacher_folder(spec.teacher, data)
    stream = RestartingTask(begin, new, lambda: _newest(folder))
    with suppress(StopIteration):
        while True:
            if not ray.wait([stream.results], timeout=LOOK_SECONDS, fetch_local=False)[0]:
                if (
                    not share
                    and not any(node.cpus >= asked for node in machines())
                    and smallest_node() < asked
                ):
                    stream.again()  # the nodes that it was to run on have left, smaller ones have come
            elif (result := stream.next()) is not None:
                yield result
    control.check()


def _teach(
    teacher: str, data: str, root: str | None, gpus: float, asking: ControlReader
) -> Iterator[EpochResult | TrainedTeacher]:
    spec = DataSpec.model_validate_json(data)
    loaded = load(spec, root=Path(root) if root else None)
    device = device_of(gpus=gpus)
    yield from load_or_train(TeacherSpec.model_validate_json(teacher), loaded, device=device, poll=asking)


def run(
    ledger: Ledger,
    teacher: TrainedTeacher,
    plan: BankPlan,
    place: Place,
    capacity: Capacity,
    observer: Observer,
    control: StudyControl,
) -> None:
    """Do all that the ledger hands out; returns when it has no more, or when it was asked to stop or cancel.

    Args:
        ledger: Open, accepted and with its earlier runs taken over.
        teacher: The study's.
        plan: Its bank, filled.
        place: Files and data.
        capacity: What a trial may use, and how many fit.
        observer: Hears of every change, in this thread.
        control: What the study has been asked to do.

    Raises:
        PausedError: It was asked to pause; every run that goes on another time has its checkpoint.
        UnwritableError: The ledger or a disk cannot be written.
        FencedError: Another process has taken the study over.
    """
    spec, resources = ledger.spec, capacity.resources
    shared = StudyContext(
        data=spec.data,
        data_root=str(place.data_root) if place.data_root else None,
        teacher=with_resolved_precision(spec.teacher, resources),
        teacher_file=teacher,
        plan=plan,
        gpus=resources.gpus_per_trial,
        workers=resources.workers_per_trial,
    )
    hours = spec.budget.hours
    deadline = None if hours is None else time.monotonic() + 3600 * hours
    trainable = trainable_of(ledger, shared, place, capacity, control)
    over: list[Folder] = []

    def observe(assignment: Assignment) -> None:
        if not ledger.is_running(assignment):
            over.append(run_folder(place.folder, assignment))
            with suppress(StorageError):  # then they stay, and nobody reads them
                checkpoint.drop(over[-1])
                (over[-1] / WORKERS).clear()
        observer(assignment)

    def searching() -> bool:
        return deadline is None or time.monotonic() < deadline

    with _tune_folder(place.folder) as folder:
        while True:
            run_tune(ledger, trainable, folder, searching=searching, observer=observe, control=control)
            shutil.rmtree(folder, ignore_errors=True)  # Tune's own state; the ledger has it all
            with suppress(StorageError):
                for one in over:  # a run that was stopped may have been writing another one
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
            ledger.adopt_unfinished()  # a wish was taken back while the last trials ended


def trainable_of(
    ledger: Ledger, shared: StudyContext, place: Place, capacity: Capacity, control: StudyControl
) -> TuneLauncher:
    """What Tune runs for each run of the ledger: finals alone read the test set, trials alone are pruned."""
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
                        update={"weights": _shared(trial.student.weights, place)}
                    ),
                }
            ),
            final=assignment.kind == "final",
            folder=run_folder(place.folder, assignment).url,
            control=control.folder.url,
            holder=control.token,
            key=assignment.key,
            rungs=ledger.rungs(assignment),
        )
        return {"job": job.model_dump_json(), "worker_cpus": cpus - WAITING_CPUS}

    return TuneLauncher(
        _function(resources, cpus),
        config,
        concurrent=capacity,
        kept=lambda assignment: _newest(run_folder(place.folder, assignment)),
        on_workers=resources.workers_per_trial > 1,
    )


def _shared(weights: str | None, place: Place) -> str | None:
    """Where all nodes find a file of weights; None where there is none."""
    return None if weights is None else place.weights.get(weights, weights)


def _newest(folder: Folder) -> str:
    """Name of its newest checkpoint; empty where there is none, or it cannot be known now."""
    with suppress(StorageError):
        return checkpoint.newest_name(folder)
    return ""


@contextmanager
def _tune_folder(study: Folder) -> Iterator[Path]:
    """For Tune's own state, which this process alone needs; Tune would wait for a store that is gone."""
    if isinstance(study, LocalFolder):
        yield study.path / "tune"
    else:
        with TemporaryDirectory(prefix="lpstudy-") as made:
            yield Path(made) / "tune"


def run_folder(study: Folder, assignment: Assignment) -> Folder:
    """Where a run keeps its checkpoints and weights."""
    return study / f"runs/{assignment.key}"


def _function(resources: TrialResources, cpus: int) -> Any:
    if resources.workers_per_trial > 1:
        # The trial itself only waits; Ray Train asks for its workers' share on its own.
        return tune.with_resources(run_on_workers, {"cpu": DRIVER_CPUS})
    bundle = {"cpu": float(cpus)} | ({"gpu": resources.gpus_per_trial} if resources.gpus_per_trial else {})
    return tune.with_resources(run_in_actor, bundle)
