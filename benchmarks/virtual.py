"""A study without Ray and without time: trials are events in the order in which they would come.

What is measured is CPU time of the ledger with the driver, and of the projection into MLflow, in a process
of their own for each number of trials at once.
"""

import heapq
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lpstudy import tracking
from lpstudy.cost import cost_of
from lpstudy.folder import LocalFolder
from lpstudy.ledger import Assignment, Ledger, dump, ledger_file_url
from lpstudy.outputs import EpochResult
from lpstudy.ray_cluster.actors import as_report
from lpstudy.space import StudySpec, parse
from lpstudy.study import Driver, StudyControl
from lpstudy.study.driver import Decision

SHAPE, CLASSES = (1, 8, 8), 10
EPOCHS = 10
PER_REPORT = 5
"""Epochs that a report holds, as where an epoch takes a fifth of a second."""
METRICS = 12
"""Beside the accuracy; a study's epoch has about as many."""
PROCESSES = 2
PATIENCE = 600.0
"""Seconds that the projection may take."""
MEMORY = Path("/dev/shm")
"""A disk makes whoever writes wait, which is no CPU time; here there is none, where the system has it."""


@dataclass(frozen=True, slots=True)
class AssignmentJobs:
    """Jobs of a driver that are the assignments themselves."""

    def job(self, assignment: Assignment) -> Any:
        """The assignment."""
        return assignment

    def newest_checkpoint(self, assignment: Assignment) -> str:
        """No checkpoint."""
        return ""

    def drop_checkpoints(self, assignment: Assignment) -> None:
        """Do nothing."""


@dataclass
class Clock:
    """CPU seconds of this process by the kind of event."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    events: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @contextmanager
    def of(self, kind: str) -> Iterator[None]:
        """Count an event."""
        began = time.process_time()
        yield
        self.seconds[kind] += time.process_time() - began
        self.events[kind] += 1

    def milliseconds(self, kind: str) -> float:
        """CPU of one event, the mean."""
        return 1e3 * self.seconds[kind] / self.events[kind]


def spec_of(trials: int, *, epochs: int = EPOCHS, pruner: str = "median") -> StudySpec:
    """One arm with as many hyperparameters as LP + KD has."""
    return parse(
        {
            "name": "scale",
            "data": {"kind": "digits", "labels_per_class": 20, "pad": 1, "validation_fraction": 0.25},
            "teacher": {
                "family": "convnet", "depth": 2, "width": 8, "epochs": 1, "batch_size": 50, "online": True,
            },
            "students": [{"family": "convnet", "depth": 3, "width": 6}],
            "methods": {
                "lp_kd": {
                    "method": "lp",
                    "gamma": {"low": 1e-4, "high": 1e-1, "log": True},
                    "n_neighbors": {"choices": [1, 3, 5]},
                    "bandwidth": {"low": 0.25, "high": 2.0, "log": True},
                    "kd_weight": {"low": 0.05, "high": 2.0, "log": True},
                    "kd_temperature": {"low": 1.0, "high": 6.0},
                }
            },
            "training": {"batch_size": 50, "learning_rate": {"low": 5e-3, "high": 5e-2, "log": True}},
            "budget": {"trials": trials, "epochs": epochs, "seeds": 1, "pruner": pruner},
            "finals": {"candidates": 1},
        },
        "benchmarks/virtual.py",
    )  # fmt: skip


def open_ledger(folder: Path, spec: StudySpec) -> Ledger:
    """A new ledger in a folder."""
    ledger = Ledger(ledger_file_url(folder), spec, input_shape=SHAPE, classes=CLASSES)
    ledger.check_unchanged("benchmark")
    ledger.adopt_unfinished()
    return ledger


def facts_of(spec: StudySpec) -> tracking.StudyMetadata:
    """The facts of a study that the projection writes beside its runs."""
    names = ("data hash", "teacher hash", "versions", "commit", "machine", "command")
    data = {"name": "digits", "classes": 10, "train": 1, "validation": 1, "test": 1}
    teacher = {"key": "none", "label": "benchmark", "sha256": "", "test_accuracy": 50.0, "parameters": 1}
    teacher |= {"macs": 1, "training_macs": 1.0, "seed": 0}
    return tracking.StudyMetadata(dump(spec), data, teacher, dict.fromkeys(names, "benchmark"))


def epochs_of(rng: np.random.Generator, epochs: int = EPOCHS) -> list[EpochResult]:
    """Made-up results of a trial."""
    accuracies = np.minimum(100, rng.uniform(40, 90) + np.cumsum(rng.exponential(size=epochs)))
    return [
        EpochResult(
            epoch,
            {"validation_accuracy": float(accuracies[epoch - 1])}
            | {f"train_part_{n}": float(rng.uniform()) for n in range(METRICS)},
        )
        for epoch in range(1, epochs + 1)
    ]


def groups_of(epochs: Sequence[EpochResult], per_report: int = PER_REPORT) -> list[list[EpochResult]]:
    """The epochs of each report of a trial."""
    return [list(epochs[first : first + per_report]) for first in range(0, len(epochs), per_report)]


def reports_of(epochs: Sequence[EpochResult], per_report: int = PER_REPORT) -> list[dict[str, Any]]:
    """The reports of a trial to Tune."""
    return [as_report(group) for group in groups_of(epochs, per_report)]


@contextmanager
def memory() -> Iterator[Path]:
    """A temporary folder for databases."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


def ledger_and_driver(concurrent: int) -> dict[str, float]:
    """CPU ms of each kind of event, and kB of memory a trial, where so many trials run at once."""
    rng, clock = np.random.default_rng(0), Clock()
    with memory() as folder:
        ledger = open_ledger(folder, spec_of(concurrent))
        control = StudyControl(LocalFolder(folder), "benchmark")
        driver = Driver(ledger, control, AssignmentJobs(), lambda assignment: None)
        before = _resident()
        waiting: list[tuple[float, int, int]] = []
        runs: list[Any] = []
        for number in range(concurrent):
            with clock.of("hand out"):
                runs.append(driver.next(at_most=concurrent))
            heapq.heappush(waiting, (rng.exponential(), number, 0))
        reports = [groups_of(epochs_of(rng)) for _ in range(concurrent)]
        while waiting:
            now, number, index = heapq.heappop(waiting)
            key = runs[number].key
            with clock.of("report"):
                decision = driver.on_report(key, reports[number][index], None)
            if decision is Decision.CONTINUE and index + 1 < len(reports[number]):
                heapq.heappush(waiting, (now + rng.exponential(), number, index + 1))
            else:
                with clock.of("end"):  # a pruned one's last report has recorded it
                    driver.on_end(key)
        kinds = {kind: clock.milliseconds(kind) for kind in ("hand out", "report", "end")}
        return {"trials at once": concurrent, **kinds, "kB a trial": (_resident() - before) / concurrent}


def projection(concurrent: int) -> dict[str, float]:
    """CPU ms that it takes to write one of so many running trials to MLflow, and kB of memory a trial."""
    rng = np.random.default_rng(0)
    with memory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        spec = spec_of(concurrent)
        ledger, client = open_ledger(folder, spec), tracking.connect()
        for _ in range(concurrent):
            assignment = ledger.next()
            if isinstance(assignment, Assignment):
                ledger.report(assignment, epochs_of(rng)[:PER_REPORT])
        before, began = _resident(), time.process_time()
        written = tracking.Projection(client, ledger, facts_of(spec), LocalFolder(folder / "runs"))
        written.start()
        written.close(seconds=PATIENCE)
        if written.error is not None:
            raise RuntimeError(written.error)
        first = 1e3 * (time.process_time() - began) / concurrent
        grown = (_resident() - before) / concurrent
        return {"trials at once": concurrent, "write": first, "kB a trial": grown}


def warm_up() -> None:
    """Count a network once: it makes torch import its compiler, which the processes then need not."""
    spec = spec_of(1)
    cost_of(spec.arms()[0].student_spec({}), input_shape=SHAPE, classes=CLASSES)


def side_by_side(
    calls: Sequence[tuple[Callable[[int], dict[str, float]], int]],
) -> Iterator[dict[str, float]]:
    """Each call in a process of its own, two at a time; results in the order of the calls."""
    context = multiprocessing.get_context("fork")  # all is imported already
    with context.Pool(PROCESSES, maxtasksperchild=1) as pool:
        waiting = [pool.apply_async(call, (size,)) for call, size in calls]
        for answer in waiting:
            yield answer.get()


def _resident() -> float:
    """Memory of this process in kB."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1024
