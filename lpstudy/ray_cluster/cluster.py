"""The resources of a cluster, and how many trials fit on it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from lpstudy.folder import Folder, RemoteFolder
from lpstudy.ray_cluster.restarting_task import task
from lpstudy.study.resources import Node, TrialResources, concurrent_trials
from lpstudy.training.precision import has_bf16

DRIVER_CPUS = 0.01
"""CPUs of a trial that only waits for its Train workers; Ray refuses 0."""
WAITING_CPUS = 0.01
"""CPUs that each Train worker leaves to the waiting trial, so that both fit on one core."""

QUERY_SECONDS = 2.0
"""Seconds between two queries of the cluster's resources."""
SHORTAGE_SECONDS = 10.0
"""How long the cluster must be too small before the user is told."""


def ray_storage(folder: Folder) -> dict[str, Any]:
    """Ray Train's storage arguments for a folder; Train itself knows few kinds of URL."""
    if not isinstance(folder, RemoteFolder):
        return {"storage_path": folder.url}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    system, path = folder.file_system()
    return {"storage_path": path, "storage_filesystem": PyFileSystem(FSSpecHandler(system))}


def machines() -> list[Node]:
    """The live nodes of the cluster.

    Raises:
        RayError: The Ray session has ended.
    """
    if not ray.is_initialized():
        raise RayError("the Ray session has ended")
    all_nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # untyped in Ray
    resources = (node["Resources"] for node in all_nodes if node["Alive"])
    return [Node(one.get("CPU", 0.0), one.get("GPU", 0.0)) for one in resources]


def cluster_resources() -> tuple[float, float]:
    """The total CPUs and GPUs of all machines."""
    nodes = machines()
    return sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)


def gpu_name(resources: TrialResources) -> str:
    """The model of the GPU on which trials run; empty if they run on the CPU."""
    return _gpu(min(1.0, resources.gpus_per_trial))[0] if resources.gpus_per_trial else ""


def trials_have_bf16(resources: TrialResources) -> bool:
    """Whether the device on which trials run multiplies bfloat16."""
    gpus = min(1.0, resources.gpus_per_trial)
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
