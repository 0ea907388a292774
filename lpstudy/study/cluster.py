"""The resources of a cluster, and how many trials fit on it."""

import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import ray
import torch
from ray.exceptions import RayError

from lpstudy.folder import Folder, RemoteFolder
from lpstudy.space import ImportedCode, Training
from lpstudy.study.restarting_task import task
from lpstudy.training.precision import has_bf16

Spec = TypeVar("Spec", bound=Training)

DRIVER_CPUS = 0.01
"""CPUs of a trial that only waits for its Train workers; Ray refuses 0."""
WAITING_CPUS = 0.01
"""CPUs that each Train worker leaves to the waiting trial, so that both fit on one core."""

MIN_GPU_SHARE = 1e-4
"""Smallest share of a GPU; Ray counts no finer."""

QUERY_SECONDS = 2.0
"""Seconds between two queries of the cluster's resources."""
SHORTAGE_SECONDS = 10.0
"""How long the cluster must be too small before the user is told."""


@dataclass(frozen=True, slots=True)
class TrialResources:
    """The resources of a trial, and how many trials run at once (None: as many as fit)."""

    gpus_per_trial: float = 0.0
    """GPUs of each of its workers."""
    workers_per_trial: int = 1
    concurrent: int | None = None

    def check(self) -> None:
        """Refuse requests that no cluster can meet.

        Raises:
            ValueError: A GPU cannot be divided in this way.
        """
        gpus, workers = self.gpus_per_trial, self.workers_per_trial
        if 0 < gpus < MIN_GPU_SHARE:
            raise ValueError(f"--gpus-per-trial must be 0 or at least {MIN_GPU_SHARE:g} but got {gpus:g}")
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(f"--gpus-per-trial must be at most 1 or a whole number but got {gpus:g}")
        if 0 < gpus < 1 and workers > 1:  # NCCL: "Duplicate GPU detected", at the first step of each trial
            raise ValueError(
                f"--gpus-per-trial {gpus:g} with --workers-per-trial {workers}: two workers of a trial cannot"
                " share a GPU; allowed are a whole number of GPUs for each, or one worker"
            )


def ray_storage(folder: Folder) -> dict[str, Any]:
    """Ray Train's storage arguments for a folder; Train itself knows few kinds of URL."""
    if not isinstance(folder, RemoteFolder):
        return {"storage_path": folder.url}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    system, path = folder.file_system()
    return {"storage_path": path, "storage_filesystem": PyFileSystem(FSSpecHandler(system))}


@dataclass(frozen=True, slots=True)
class StudyPaths:
    """The folders of a study's files, data and weights."""

    folder: Folder
    """The study's folder within the storage; its address is valid on all nodes."""
    data_root: Path | None
    weights: Mapping[str, str] = field(default_factory=dict)
    """The shared copy of each weights file, by the path that the study file gives."""
    imported: tuple[ImportedCode, ...] = ()
    """The code of one's own, which every process runs."""


@dataclass(frozen=True, slots=True)
class Node:
    """The resources of one machine."""

    cpus: float
    gpus: float = 0.0


def machines() -> list[Node]:
    """The live nodes of the joined cluster, or this machine if no cluster was joined.

    Raises:
        RayError: The Ray session has ended.
    """
    if not ray.is_initialized():
        return [Node(float(own_cpus()), float(torch.cuda.device_count()))]
    all_nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # untyped in Ray
    resources = (node["Resources"] for node in all_nodes if node["Alive"])
    return [Node(one.get("CPU", 0.0), one.get("GPU", 0.0)) for one in resources]


def cluster_resources() -> tuple[float, float]:
    """The total CPUs and GPUs of all machines."""
    nodes = machines()
    return sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)


def own_cpus() -> int:
    """The number of CPUs that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def with_resolved_precision(training: Spec, resources: TrialResources) -> Spec:
    """A copy of the training settings with `auto` resolved: one precision for all runs of a study."""
    gpus = min(1.0, resources.gpus_per_trial)
    bf16 = training.precision == "bf16" or (training.precision == "auto" and _has_bf16(gpus))
    return training.model_copy(update={"precision": "bf16" if bf16 else "fp32"})


def gpu_name(resources: TrialResources) -> str:
    """The model of the GPU on which trials run; empty if they run on the CPU."""
    return _gpu(min(1.0, resources.gpus_per_trial))[0] if resources.gpus_per_trial else ""


def _has_bf16(gpus: float) -> bool:
    return _gpu(gpus)[1] if gpus else has_bf16(torch.device("cpu"))


@cache
def _gpu(gpus: float) -> tuple[str, bool]:
    """The model of a GPU, and whether it multiplies bfloat16.

    A task finds out where trials run: the driver's machine may have no GPU, and the driver itself must not
    start CUDA, which would hold memory of the GPU for the whole study.
    """
    name, bf16 = ray.get(task(_describe_gpu, cpus=0, gpus=gpus).remote())
    return str(name), bool(bf16)


def _describe_gpu() -> tuple[str, bool]:
    return torch.cuda.get_device_name(), has_bf16(torch.device("cuda"))


def nodes() -> int:
    """The number of live nodes; 0 if the Ray session has ended."""
    try:
        return len(machines())
    except RayError:
        return 0


def smallest_node() -> int:
    """The CPUs of the smallest node with CPUs; at least 1."""
    return min((int(node.cpus) for node in machines() if int(node.cpus)), default=1)


def cpus_per_gpu_share(gpus: float, have: Sequence[Node] | None = None) -> int:
    """CPUs of a process with a share of a GPU: the same share of its node's CPUs, to decode images.

    The node with the fewest CPUs per GPU decides, so that every node takes as many such processes as it has
    shares. Without a GPU, 1.
    """
    if not gpus:
        return 1
    shares = [node.cpus * gpus / node.gpus for node in (machines() if have is None else have) if node.gpus]
    return max(1, int(min(shares, default=1.0) + 1e-9))


def count_fitting(gpus: float, have: Sequence[Node]) -> int:
    """How many processes with this share of a GPU, and their CPUs, fit on the nodes."""
    cpus = cpus_per_gpu_share(gpus, have)
    return sum(min(int(node.cpus // cpus), _shares(gpus, node.gpus)) for node in have)


def _shares(gpus: float, have: float) -> int:
    """How many processes fit on a node's GPUs; a share below 1 is of a single GPU."""
    if not gpus:
        return sys.maxsize
    return int(have // gpus) if gpus >= 1 else int(1 / gpus + 1e-9) * int(have)


def concurrent_trials(resources: TrialResources, have: Sequence[Node]) -> int:
    """How many trials run at once on these machines, each process of a trial on one machine.

    Raises:
        ValueError: Not even one fits, or `concurrent` exceeds what fits (the message says what is needed and
            what is available), or no cluster can meet the request.
    """
    resources.check()
    workers, gpus = resources.workers_per_trial, resources.gpus_per_trial
    most = count_fitting(gpus, have) // workers
    need = f"{workers} CPU{'s' * (workers > 1)}" + (f" and {gpus * workers:g} GPUs" if gpus else "")
    available = f"{sum(n.cpus for n in have):g} CPUs and {sum(n.gpus for n in have):g} GPUs"
    if len(have) > 1:
        max_cpus, max_gpus = max(n.cpus for n in have), max(n.gpus for n in have)
        available += f" on {len(have)} nodes (at most {max_cpus:g} and {max_gpus:g} on one)"
    if most < 1:
        raise ValueError(f"a trial needs {need} but there are {available}")
    if resources.concurrent is not None and resources.concurrent > most:
        raise ValueError(
            f"--concurrent {resources.concurrent}: at most {most} trials of {need} fit in {available}"
        )
    return resources.concurrent or most


@dataclass(frozen=True, slots=True)
class CapacitySnapshot:
    """The result of one query of the cluster's resources."""

    trials: int = 0
    """How many trials fit."""
    shortage: str = ""
    """Why not even one trial fits; empty if one does."""
    since: float = 0.0
    """When the shortage began, on the monotonic clock."""


class Capacity:
    """How many trials run at once on the cluster's current nodes, which come and go.

    The main thread and a gauge's thread call it: each query's result is replaced as a whole.

    Args:
        resources: The resources of a trial.
        say: Called once when no trial has fitted for a while; from any thread.
    """

    def __init__(self, resources: TrialResources, say: Callable[[str], None] = lambda text: None) -> None:
        self.resources, self.say = resources, say
        self._queried_at, self._snapshot = -math.inf, CapacitySnapshot()
        self._reported_shortage: float | None = None
        """Start time of the shortage that was reported last."""

    def __call__(self) -> int:
        """The number of trials; the cluster is queried every few seconds."""
        if time.monotonic() - self._queried_at >= QUERY_SECONDS:
            self._queried_at = time.monotonic()
            self._query()
        return self._snapshot.trials

    def shortage(self) -> str:
        """Why not even one trial fits; empty if one does."""
        self()
        snapshot = self._snapshot
        if (
            snapshot.shortage
            and self._reported_shortage != snapshot.since
            and time.monotonic() - snapshot.since >= SHORTAGE_SECONDS
        ):
            self._reported_shortage = snapshot.since
            self.say(f"waiting for the cluster: {snapshot.shortage}")
        return snapshot.shortage

    def _query(self) -> None:
        before = self._snapshot
        try:
            most = concurrent_trials(replace(self.resources, concurrent=None), machines())
        except RayError:  # the session has ended
            pass
        except ValueError as error:
            since = before.since if before.shortage else time.monotonic()
            self._snapshot = CapacitySnapshot(0, str(error), since)
        else:
            self._snapshot = CapacitySnapshot(min(most, self.resources.concurrent or most))
