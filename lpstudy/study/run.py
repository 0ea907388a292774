"""A study from its teacher to its finals, on the Ray cluster of the session."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune

from lpstudy.data import DataSpec, load
from lpstudy.ledger import Assignment, Ledger
from lpstudy.outputs import EpochResult
from lpstudy.space import StudySpec, TeacherSpec
from lpstudy.study.cluster import (
    DRIVER_CPUS,
    WORKER_CPUS,
    Demand,
    Place,
    concurrent_trials,
    resources,
    settled,
    smallest_node,
)
from lpstudy.study.search import FAILURES, Observer, Trainable, drive
from lpstudy.study.trial import WORKERS, Job, Shared, device_of, run_in_actor, run_on_workers
from lpstudy.teacher import BankPlan, TeacherFile, obtain
from lpstudy.training import DivergedError


def train_teacher(spec: StudySpec, place: Place, demand: Demand) -> Iterator[EpochResult | TeacherFile]:
    """The teacher's epochs as they end, and at last its file; at once where it is known already.

    Raises:
        DivergedError: Its loss is not finite.
    """
    _, gpus = resources()
    share = min(1.0, gpus) if demand.gpus_per_trial else 0.0
    cpus = 1 if share else smallest_node()
    root = str(place.data_root) if place.data_root else None
    task: Any = _teach.options(num_cpus=cpus, num_gpus=share)
    for told in task.remote(spec.teacher.model_dump_json(), spec.data.model_dump_json(), root, share):
        try:
            yield ray.get(told)
        except DivergedError as error:  # Ray's own has the remote traceback as its text
            raise DivergedError(str(getattr(error, "cause", error))) from None


@ray.remote(max_retries=FAILURES, num_returns="streaming")
def _teach(teacher: str, data: str, root: str | None, gpus: float) -> Iterator[EpochResult | TeacherFile]:
    spec = DataSpec.model_validate_json(data)
    loaded = load(spec, root=Path(root) if root else None)
    device = device_of(gpus=gpus)
    yield from obtain(TeacherSpec.model_validate_json(teacher), loaded, device=device)


def run(
    ledger: Ledger, teacher: TeacherFile, plan: BankPlan, place: Place, demand: Demand, observer: Observer
) -> None:
    """Do all that the ledger hands out; returns when it has no more.

    Args:
        ledger: Open, accepted and with its earlier runs taken over.
        teacher: The study's.
        plan: Its bank, filled.
        place: Files and data.
        demand: What a trial may use.
        observer: Hears of every change, in this thread.
    """
    spec = ledger.spec
    cpus, gpus = resources()
    shared = Shared(
        data=spec.data,
        data_root=str(place.data_root) if place.data_root else None,
        teacher=settled(spec.teacher, demand),
        teacher_file=teacher,
        plan=plan,
        gpus=demand.gpus_per_trial,
        workers=demand.workers_per_trial,
    )
    hours = spec.budget.hours
    deadline = None if hours is None else time.monotonic() + 3600 * hours

    def config(assignment: Assignment) -> dict[str, Any]:
        arm = ledger.arms[assignment.arm]
        trial = arm.resolve(assignment.values, epochs=spec.budget.epochs, seed=assignment.seed)
        job = Job(
            shared=shared,
            trial=trial.model_copy(update={"training": settled(trial.training, demand)}),
            final=assignment.kind == "final",
            folder=str(run_folder(place.folder, assignment)),
        )
        return {"job": job.model_dump_json(), "worker_cpus": WORKER_CPUS}

    def observe(assignment: Assignment) -> None:
        if not ledger.running(assignment):
            folder = run_folder(place.folder, assignment)
            for path in folder.glob("checkpoint-*"):
                path.unlink(missing_ok=True)
            shutil.rmtree(folder / WORKERS, ignore_errors=True)
        observer(assignment)

    def searching() -> bool:
        return deadline is None or time.monotonic() < deadline

    trainable = Trainable(
        _function(demand),
        config,
        concurrent=concurrent_trials(demand, cpus=cpus, gpus=gpus),
        reuse_actors=demand.workers_per_trial == 1,
    )
    drive(ledger, trainable, place.folder / "tune", searching=searching, observer=observe)
    shutil.rmtree(place.folder / "tune", ignore_errors=True)  # Tune's own state; the ledger has it all


def run_folder(study: Path, assignment: Assignment) -> Path:
    """Where a run keeps its checkpoints and weights."""
    return study / "runs" / assignment.key


def _function(demand: Demand) -> Any:
    if demand.workers_per_trial > 1:
        # The trial itself only waits; Ray Train asks for its workers' share on its own.
        return tune.with_resources(run_on_workers, {"cpu": DRIVER_CPUS})
    bundle = {"cpu": 1.0} | ({"gpu": demand.gpus_per_trial} if demand.gpus_per_trial else {})
    return tune.with_resources(run_in_actor, bundle)
