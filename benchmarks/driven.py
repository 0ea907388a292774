"""A study on Ray: trials that train on this machine's cores, and trials that sleep on a simulated cluster."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import ray
import torch
from measuring import one_thread
from ray import tune
from ray.cluster_utils import Cluster
from sleeping import sleep_and_report
from virtual import CLASSES, SHAPE, AssignmentJobs, epochs_of, facts_of, reports_of, spec_of

from lpstudy import study, tracking
from lpstudy.data import load
from lpstudy.folder import LocalFolder
from lpstudy.ledger import Assignment, Done, Ledger, State, Waiting, ledger_file_url
from lpstudy.outputs import EpochResult
from lpstudy.ray_cluster.ray_backend import RayBackend
from lpstudy.ray_cluster.session import prepare_environment
from lpstudy.ray_cluster.tune import TuneLauncher, run_tune
from lpstudy.space import StudySpec
from lpstudy.study.run_epochs import REPORT_SECONDS
from lpstudy.teacher import TrainedTeacher, load_or_train, open_teacher_outputs, plan_bank
from lpstudy.training import train

CPU = torch.device("cpu")
NODE_MEMORY = 80 * 1024**2
"""Bytes of a simulated node's object store, about the least that Ray takes."""
PATIENCE = 120.0
"""Seconds that the projection may take at the end."""


class TimedLedger(Ledger):
    """A ledger that counts the CPU seconds that the study's driver spends in it."""

    spent = 0.0
    """CPU seconds."""

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.thread_time()
        try:
            yield
        finally:
            self.spent += time.thread_time() - began

    def next(self, *, searching: bool = True) -> Assignment | Waiting | Done:
        """Time the ledger's method."""
        with self._timed():
            return super().next(searching=searching)

    def report(self, assignment: Assignment, results: Sequence[EpochResult]) -> bool:
        """Time the ledger's method."""
        with self._timed():
            return super().report(assignment, results)

    def finish(self, assignment: Assignment, state: State, cause: str | None = None) -> None:
        """Time the ledger's method."""
        with self._timed():
            super().finish(assignment, state, cause)


@dataclass(frozen=True, slots=True)
class Service:
    """CPU ms a run; of the study's own process, but for the last."""

    tune: float
    """Ray Tune, Ray's client and what is not named below."""
    ledger: float
    mlflow: float
    actor: float
    """CPU milliseconds of the trial's process, its training included."""


class Watch:
    """A ledger that MLflow follows, and what it costs from the end of each worker's first trial on.

    What a study does once, however many its trials are, is left out: a few trials would not bear it.

    Args:
        folder: For the databases.
        spec: Of the study.
        workers: How many trials run at once.
    """

    def __init__(self, folder: Path, spec: StudySpec, workers: int) -> None:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        self.client, self.workers = tracking.connect(), workers
        self.ledger = TimedLedger(ledger_file_url(folder), spec, input_shape=SHAPE, classes=CLASSES)
        self.ledger.check_unchanged("benchmark")
        self.ledger.adopt_unfinished()
        runs = LocalFolder(folder / "runs")
        self.projection = tracking.Projection(self.client, self.ledger, facts_of(spec), runs)
        self._seen: list[tuple[float, float, float, float]] = []

    def __enter__(self) -> "Watch":
        self.projection.start()
        name = tracking.experiment_name(self.ledger.spec.name)
        made = len(self.ledger.arms) + 1
        while True:  # until the projection waits for changes
            found = self.client.get_experiment_by_name(name)
            if found is not None and len(self.client.search_runs([found.experiment_id])) == made:
                break
            time.sleep(0.1)
        writer = next(thread for thread in threading.enumerate() if thread.name == "mlflow")
        self._clock = time.pthread_getcpuclockid(writer.ident or 0)
        self._written = -time.clock_gettime(self._clock)
        self._whole, self._mine = time.process_time(), time.thread_time()
        return self

    def changed(self, assignment: Assignment) -> None:
        """Hear of a change, as the study's observer."""
        self.projection.note_change(assignment)
        if assignment.kind == "trial" and not self.ledger.is_running(assignment):
            self._seen.append((time.monotonic(), time.thread_time(), self.ledger.spent, _actors()))

    def __exit__(self, *_: object) -> None:
        self._written += time.clock_gettime(self._clock)
        whole, mine = time.process_time(), time.thread_time()
        others = (whole - self._whole) - (mine - self._mine) - self._written
        self.projection.close(seconds=PATIENCE)
        if self.projection.error is not None:
            raise RuntimeError(self.projection.error)
        self._written += time.process_time() - whole - (time.thread_time() - mine)
        runs = len(self.ledger.records())
        self._mlflow, self._others = 1e3 * self._written / runs, 1e3 * others / runs

    def took(self) -> tuple[Service, float]:
        """The cost of a run, and the number of trials that ended in a minute."""
        first, last = self._seen[self.workers - 1], self._seen[-1]
        between = len(self._seen) - self.workers
        wall, mine, ledger, actor = (1e3 * (b - a) / between for a, b in zip(first, last, strict=True))
        return Service(mine - ledger + self._others, ledger, self._mlflow, actor), 6e4 / wall


@dataclass(frozen=True, slots=True)
class Worked:
    """A study of trials that train."""

    workers: int
    trials: int
    per_minute: float
    service: Service


class Bench:
    """A study of digits whose trials are all of so many epochs, its teacher trained."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self.folder, self.epochs = folder, epochs
        self.spec = spec_of(1, epochs=epochs, pruner="none")
        self.data = load(self.spec.data)
        self.plan = plan_bank(self.spec, self.data)
        self.teacher = next(
            told
            for told in load_or_train(self.spec.teacher, self.data, device=CPU)
            if isinstance(told, TrainedTeacher)
        )

    def bare(self, processes: int, runs: int) -> tuple[float, float]:
        """CPU and wall seconds of a bare training in so many processes at once, the means."""
        spawn = get_context("spawn")
        barrier = spawn.Barrier(processes)
        with ProcessPoolExecutor(processes, spawn, initializer=_join, initargs=(barrier,)) as pool:
            told = [pool.submit(_train, self.folder, self.epochs, runs) for _ in range(processes)]
            cpu, wall = zip(*(one.result() for one in told), strict=True)
            return sum(cpu) / processes, sum(wall) / processes

    def train(self, runs: int, begin: Callable[[], object]) -> tuple[float, float]:
        """CPU and wall seconds of a run's training in this process, the means.

        Args:
            runs: How many, after one that is not counted.
            begin: Called between that one and the others.
        """
        arm = next(iter(self.spec.arms()))
        rate = {"learning_rate": 0.01, "gamma": 0.01, "bandwidth": 1.0, "weight": 0.5, "temperature": 4.0}
        trial = arm.resolve(rate | {"n_neighbors": 3}, epochs=self.epochs, seed=0)
        teacher = open_teacher_outputs(self.plan, self.teacher, self.spec.teacher, self.data, device=CPU)
        data = self.data.with_views(self.plan.views)
        with TemporaryDirectory(dir=self.folder) as folder:
            for run in range(-1, runs):
                if run == 0:
                    begin()
                    began, wall = time.process_time(), time.monotonic()
                for _ in train(trial, data, teacher, device=CPU, folder=Path(folder) / str(run)):
                    pass
            return (time.process_time() - began) / runs, (time.monotonic() - wall) / runs

    def on_workers(self, workers: int, trials: int) -> Worked:
        """The study on so many workers of the session."""
        folder = self.folder / f"workers{workers}"
        folder.mkdir()
        spec = spec_of(trials, epochs=self.epochs, pruner="none")
        paths = study.StudyPaths(LocalFolder(folder), None)
        resources = study.TrialResources(concurrent=workers)
        with Watch(folder, spec, workers) as watch:
            control = study.StudyControl(LocalFolder(folder), "benchmark")
            backend = RayBackend(resources, lambda error: 1)
            inputs = study.StudyInputs(spec, self.data, self.plan, paths)
            jobs = backend.jobs(watch.ledger, inputs, self.teacher, control)
            study.run_all(study.Driver(watch.ledger, control, jobs, watch.changed), backend.train_runs)
        service, per_minute = watch.took()
        return Worked(workers, trials, per_minute, service)


_barrier: Barrier | None = None
"""The number of processes that train at once."""


def _join(barrier: Barrier) -> None:
    global _barrier  # an executor hands its processes no other way to a barrier
    _barrier = barrier


def _train(folder: Path, epochs: int, runs: int) -> tuple[float, float]:
    one_thread()
    if _barrier is None:
        raise RuntimeError("this process has no barrier")
    return Bench(folder, epochs).train(runs, _barrier.wait)


def _actors() -> float:
    """CPU seconds so far of the trials' processes that this one's Ray has started."""
    total, ticks = 0, os.sysconf("SC_CLK_TCK")
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"ray::ImplicitFunc" in (path / "cmdline").read_bytes():
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
    return total / ticks


@contextmanager
def cluster(nodes: int) -> Iterator[float]:
    """A cluster of so many simulated nodes with a CPU each; gives the seconds that it took to start."""
    began = time.monotonic()
    prepare_environment()
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": NODE_MEMORY},
    )
    try:
        for _ in range(nodes - 1):
            made.add_node(wait=False, num_cpus=1, object_store_memory=NODE_MEMORY)
        made.wait_for_nodes()
        ray.init(address=made.address, log_to_driver=False, logging_level=logging.CRITICAL)
        yield time.monotonic() - began
    finally:
        ray.shutdown()
        made.shutdown()  # type: ignore[no-untyped-call]  # untyped in Ray


def on_cluster(nodes: int, trials: int, epochs: int, seconds: float) -> tuple[Service, float]:
    """The cost of sleeping trials on all nodes at once.

    Args:
        nodes: Of the cluster that is joined; one trial at a time on each.
        trials: How many of the search; one final follows.
        epochs: Of a trial.
        seconds: Of a trial's training.

    Returns:
        The service, and the runs that ended in a minute.
    """
    results = epochs_of(np.random.default_rng(0), epochs)
    reports = reports_of(results, max(1, round(epochs * min(1.0, REPORT_SECONDS / seconds))))
    config: dict[str, Any] = {"reports": reports, "seconds": [seconds / len(reports)] * len(reports)}
    launcher = TuneLauncher(
        tune.with_resources(sleep_and_report, {"cpu": 1.0}),
        lambda assignment: config,
        lambda: nodes,
        reuse_actors=True,
    )
    with TemporaryDirectory() as name:
        folder = Path(name)
        with Watch(folder, spec_of(trials, epochs=epochs, pruner="none"), nodes) as watch:
            control = study.StudyControl(LocalFolder(folder), "benchmark")
            driver = study.Driver(watch.ledger, control, AssignmentJobs(), watch.changed)
            run_tune(driver, launcher, folder / "tune")
    return watch.took()
