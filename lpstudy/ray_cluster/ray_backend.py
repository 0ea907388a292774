"""The backend on Ray: a cluster that is joined, or a Ray started on this machine."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ray import tune

from lpstudy.folder import Folder, LocalFolder
from lpstudy.outputs import EpochResult
from lpstudy.ray_cluster.actors import run_in_actor, run_on_workers
from lpstudy.ray_cluster.bank_tasks import BankTask, compute_on_cluster
from lpstudy.ray_cluster.cluster import (
    DRIVER_CPUS,
    WAITING_CPUS,
    Capacity,
    cluster_resources,
    gpu_name,
    machines,
    nodes,
    trials_have_bf16,
)
from lpstudy.ray_cluster.cluster_address import cluster_address
from lpstudy.ray_cluster.machine import check_machine
from lpstudy.ray_cluster.ray_watch import RayWatch, kill_own_processes, watching
from lpstudy.ray_cluster.session import ray_session
from lpstudy.ray_cluster.shared_folders import check_shared
from lpstudy.ray_cluster.teacher_task import teacher_task, train_teacher
from lpstudy.ray_cluster.time_limit import Abandon
from lpstudy.ray_cluster.tune import TuneLauncher, run_tune
from lpstudy.study.backend import Backend
from lpstudy.study.control import StudyControl
from lpstudy.study.driver import Driver
from lpstudy.study.resources import (
    TrialResources,
    concurrent_trials,
    cpus_per_gpu_share,
    this_machine,
)
from lpstudy.study.run_job import RunJob, StudyInputs
from lpstudy.teacher import Block, ComputedBlock, TrainedTeacher


class RayBackend(Backend):
    """A study's backend on Ray.

    Args:
        resources: The resources of a trial.
        abandon: Called from another thread before the process ends, if joining a cluster hangs.

    Raises:
        ValueError: RAY_ADDRESS is not an address, or this machine is too small.
    """

    starting = "starting Ray"

    def __init__(self, resources: TrialResources, abandon: Abandon) -> None:
        super().__init__(resources)
        self.is_joined = cluster_address() is not None
        self.runs_end_themselves = resources.workers_per_trial > 1
        self._abandon = abandon
        self._capacity = Capacity(resources, lambda text: self.say(text))
        self._watch: RayWatch | None = None
        if not self.is_joined:
            concurrent_trials(resources, [this_machine()])

    def connect(self, stack: ExitStack) -> None:
        """Join the cluster at RAY_ADDRESS, or check that Ray can be started on this machine."""
        if self.is_joined:
            self._enter(stack)
        else:
            check_machine()

    def start(self, stack: ExitStack) -> None:
        """Start Ray on this machine, unless a cluster was joined."""
        if not self.is_joined:
            self._enter(stack)

    def _enter(self, stack: ExitStack) -> None:
        stack.enter_context(ray_session(self._abandon))
        concurrent_trials(self.resources, machines())

    def watch(self, stack: ExitStack, control: StudyControl, folders: Mapping[str, Folder]) -> None:
        """Watch Ray's servers, and check that its nodes share the folders."""
        self._watch = stack.enter_context(watching(control))
        check_shared(folders)

    def capacity(self) -> int:
        """How many trials fit on the cluster's current nodes."""
        return self._capacity()

    def gauges(self) -> dict[str, Callable[[], object]]:
        """Why no trial fits, and the number of nodes."""
        return {"waiting": self._capacity.shortage, "nodes": nodes}

    def has_bf16(self) -> bool:
        """Whether the device on which trials run multiplies bfloat16."""
        return trials_have_bf16(self.resources)

    def gpu_name(self) -> str:
        """The model of the GPU on which trials run; empty if they run on the CPU."""
        return gpu_name(self.resources)

    def train_teacher(
        self, study: StudyInputs, control: StudyControl
    ) -> Iterator[EpochResult | TrainedTeacher]:
        """Train the teacher in a task with a machine's CPUs or one GPU."""
        return train_teacher(study, control, gpus=self.resources.gpus_per_trial)

    def compute_blocks(
        self, study: StudyInputs, teacher: TrainedTeacher, missing: Sequence[Block]
    ) -> Iterator[ComputedBlock]:
        """Compute the bank's blocks on all cores or GPUs of the cluster."""
        gpus = min(1.0, cluster_resources()[1]) if self.resources.gpus_per_trial else 0.0
        task = teacher_task(study, self.resolve(study.spec.teacher), gpus)
        return compute_on_cluster(BankTask(task, teacher, study.plan), missing)

    def train_runs(self, driver: Driver) -> None:
        """Train the driver's runs with Ray Tune."""
        cpus = cpus_per_gpu_share(self.resources.gpus_per_trial, machines())

        def config(job: RunJob) -> dict[str, Any]:
            return {"job": job.model_dump_json(), "worker_cpus": cpus - WAITING_CPUS}

        has_workers = self.resources.workers_per_trial > 1
        function = _tune_function(self.resources, cpus)
        launcher = TuneLauncher(function, config, self.capacity, reuse_actors=not has_workers)
        with _tune_folder(driver.control.folder) as folder:
            run_tune(driver, launcher, folder)
            shutil.rmtree(folder, ignore_errors=True)  # Tune's own state; the ledger has it all

    def is_lost(self) -> bool:
        """Whether Ray has failed, as far as can be told without waiting."""
        return self._watch is not None and self._watch.is_lost()

    def kill(self) -> None:
        """Kill the Ray that this process started."""
        kill_own_processes()


@contextmanager
def _tune_folder(study: Folder) -> Iterator[Path]:
    """A local folder for Tune's own state; with a remote one Tune would wait for an unreachable store."""
    if isinstance(study, LocalFolder):
        yield study.path / "tune"
    else:
        with TemporaryDirectory(prefix="lpstudy-") as temporary:
            yield Path(temporary) / "tune"


def _tune_function(resources: TrialResources, cpus: int) -> Any:
    if resources.workers_per_trial > 1:
        # The trial itself only waits; Ray Train requests its workers' resources itself.
        return tune.with_resources(run_on_workers, {"cpu": DRIVER_CPUS})
    bundle = {"cpu": float(cpus)} | ({"gpu": resources.gpus_per_trial} if resources.gpus_per_trial else {})
    return tune.with_resources(run_in_actor, bundle)
