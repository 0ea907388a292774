"""What a cluster has, and what fits on it."""

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
from lpstudy.space import Training
from lpstudy.study.restarting_task import task
from lpstudy.training.precision import has_bf16

Spec = TypeVar("Spec", bound=Training)

DRIVER_CPUS = 0.01
"""Of a trial that only waits for its Train workers; Ray refuses 0."""
WAITING_CPUS = 0.01
"""Left to the waiting trial by each of its Train workers, so that both fit on one core."""

LEAST_SHARE = 1e-4
"""Of a GPU; Ray counts no finer."""

LOOK_SECONDS = 2.0
"""Between two looks at what the cluster has."""
SHORT_SECONDS = 10.0
"""For which it must be too small before that is said."""


@dataclass(frozen=True, slots=True)
class TrialResources:
    """What a trial asks for, and how many trials at once; None: as many as fit."""

    gpus_per_trial: float = 0.0
    """Of each of its workers."""
    workers_per_trial: int = 1
    concurrent: int | None = None

    def check(self) -> None:
        """Refuse what no cluster has.

        Raises:
            ValueError: A GPU cannot be shared out so.
        """
        gpus, workers = self.gpus_per_trial, self.workers_per_trial
        if 0 < gpus < LEAST_SHARE:
            raise ValueError(f"--gpus-per-trial must be 0 or at least {LEAST_SHARE:g} but got {gpus:g}")
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(f"--gpus-per-trial must be at most 1 or a whole number but got {gpus:g}")
        if 0 < gpus < 1 and workers > 1:  # NCCL: "Duplicate GPU detected", at the first step of each trial
            raise ValueError(
                f"--gpus-per-trial {gpus:g} with --workers-per-trial {workers}: two workers of a trial cannot"
                " share a GPU; allowed are a whole number of GPUs for each, or one worker"
            )


def ray_storage(folder: Folder) -> dict[str, Any]:
    """What Train is told of a folder; it knows few kinds of URL itself."""
    if not isinstance(folder, RemoteFolder):
        return {"storage_path": folder.url}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    system, path = folder.file_system()
    return {"storage_path": path, "storage_filesystem": PyFileSystem(FSSpecHandler(system))}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a study keeps its files and finds its data."""

    folder: Folder
    """Of the study, within the storage; found from everywhere."""
    data_root: Path | None
    weights: Mapping[str, str] = field(default_factory=dict)
    """Where all nodes find a file of weights, by the path that the study file gives."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a machine has."""

    cpus: float
    gpus: float = 0.0


def machines() -> list[Node]:
    """The nodes of the cluster that was joined which are alive, or this machine where none was.

    Raises:
        RayError: The session has ended.
    """
    if not ray.is_initialized():
        return [Node(float(own_cpus()), float(torch.cuda.device_count()))]
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # untyped in Ray
    alive = (node["Resources"] for node in known if node["Alive"])
    return [Node(have.get("CPU", 0.0), have.get("GPU", 0.0)) for have in alive]


def cluster_resources() -> tuple[float, float]:
    """CPUs and GPUs of all machines together."""
    have = machines()
    return sum(node.cpus for node in have), sum(node.gpus for node in have)


def own_cpus() -> int:
    """CPUs that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def with_resolved_precision(training: Spec, resources: TrialResources) -> Spec:
    """The same with a precision that is not `auto`: one for all of a study's runs, wherever they run."""
    gpus = min(1.0, resources.gpus_per_trial)
    bf16 = training.precision == "bf16" or (training.precision == "auto" and _has_bf16(gpus))
    return training.model_copy(update={"precision": "bf16" if bf16 else "fp32"})


def gpu_name(resources: TrialResources) -> str:
    """The model of the GPU that trials run on; empty where they run on the CPU."""
    return _gpu(min(1.0, resources.gpus_per_trial))[0] if resources.gpus_per_trial else ""


def _has_bf16(gpus: float) -> bool:
    return _gpu(gpus)[1] if gpus else has_bf16(torch.device("cpu"))


@cache
def _gpu(gpus: float) -> tuple[str, bool]:
    """Model of a GPU and whether it multiplies bfloat16.

    Asked where trials run: the driver's machine may have none, and the driver itself is to start no CUDA,
    which would hold memory of the GPU for the whole study.
    """
    name, bf16 = ray.get(task(_describe_gpu, cpus=0, gpus=gpus).remote())
    return str(name), bool(bf16)


def _describe_gpu() -> tuple[str, bool]:
    return torch.cuda.get_device_name(), has_bf16(torch.device("cuda"))


def nodes() -> int:
    """How many are alive; 0 where the session has ended."""
    try:
        return len(machines())
    except RayError:
        return 0


def smallest_node() -> int:
    """CPUs of the smallest node that has any; at least 1."""
    return min((int(node.cpus) for node in machines() if int(node.cpus)), default=1)


def cpus_per_gpu_share(gpus: float, have: Sequence[Node] | None = None) -> int:
    """CPUs of a process that has a share of a GPU: the same share of its node's, for it decodes images.

    Those of the node that has the fewest for a GPU, so that every node takes as many such processes as it has
    shares. Without a GPU, 1.
    """
    if not gpus:
        return 1
    shares = [node.cpus * gpus / node.gpus for node in (machines() if have is None else have) if node.gpus]
    return max(1, int(min(shares, default=1.0) + 1e-9))


def fitting(gpus: float, have: Sequence[Node]) -> int:
    """How many processes with so much of the GPUs of one node, and their CPUs, there is room for."""
    cpus = cpus_per_gpu_share(gpus, have)
    return sum(min(int(node.cpus // cpus), _shares(gpus, node.gpus)) for node in have)


def _shares(gpus: float, have: float) -> int:
    """How many processes the GPUs of a node take: a share is one of a single GPU."""
    if not gpus:
        return sys.maxsize
    return int(have // gpus) if gpus >= 1 else int(1 / gpus + 1e-9) * int(have)


def concurrent_trials(resources: TrialResources, have: Sequence[Node]) -> int:
    """How many trials run at once on these machines: each process of a trial on one of them.

    Raises:
        ValueError: Not even one fits, or more are asked for than fit; says what is needed and what there is.
            Or no cluster has what is asked for.
    """
    resources.check()
    workers, gpus = resources.workers_per_trial, resources.gpus_per_trial
    most = fitting(gpus, have) // workers
    need = f"{workers} CPU{'s' * (workers > 1)}" + (f" and {gpus * workers:g} GPUs" if gpus else "")
    there = f"{sum(n.cpus for n in have):g} CPUs and {sum(n.gpus for n in have):g} GPUs"
    if len(have) > 1:
        cpus_of_one, gpus_of_one = max(n.cpus for n in have), max(n.gpus for n in have)
        there += f" on {len(have)} nodes (at most {cpus_of_one:g} and {gpus_of_one:g} on one)"
    if most < 1:
        raise ValueError(f"a trial needs {need} but there are {there}")
    if resources.concurrent is not None and resources.concurrent > most:
        raise ValueError(
            f"--concurrent {resources.concurrent}: at most {most} trials of {need} fit in {there}"
        )
    return resources.concurrent or most


@dataclass(frozen=True, slots=True)
class Room:
    """What one look at the cluster gave."""

    trials: int = 0
    """That fit."""
    shortage: str = ""
    """Why not even one fits; empty where one does."""
    since: float = 0.0
    """When the shortage began, on the monotonic clock."""


class Capacity:
    """How many trials run at once, as the cluster is now: nodes come and go.

    The main thread and a gauge's ask: what a look gave is replaced as a whole.

    Args:
        demand: Of a trial.
        say: Told once, when not even one has fitted for a while; from any thread.
    """

    def __init__(self, resources: TrialResources, say: Callable[[str], None] = lambda text: None) -> None:
        self.resources, self.say = resources, say
        self._looked, self._room = -math.inf, Room()
        self._said: float | None = None
        """Of which shortage it was said: when it began."""

    def __call__(self) -> int:
        """Looked up anew every few seconds."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._look()
        return self._room.trials

    def short(self) -> str:
        """Why not even one fits; empty where one does."""
        self()
        room = self._room
        if room.shortage and self._said != room.since and time.monotonic() - room.since >= SHORT_SECONDS:
            self._said = room.since
            self.say(f"waiting for the cluster: {room.shortage}")
        return room.shortage

    def _look(self) -> None:
        before = self._room
        try:
            most = concurrent_trials(replace(self.resources, concurrent=None), machines())
        except RayError:  # the session has ended
            pass
        except ValueError as error:
            since = before.since if before.shortage else time.monotonic()
            self._room = Room(0, str(error), since)
        else:
            self._room = Room(min(most, self.resources.concurrent or most))
