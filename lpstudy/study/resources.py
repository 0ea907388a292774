"""The resources of a trial, and how many trials fit on machines."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from lpstudy.space import Training

Spec = TypeVar("Spec", bound=Training)

MIN_GPU_SHARE = 1e-4
"""Smallest share of a GPU; Ray counts no finer."""


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


@dataclass(frozen=True, slots=True)
class Node:
    """The resources of one machine."""

    cpus: float
    gpus: float = 0.0


def this_machine() -> Node:
    """The CPUs that this process may use, and the GPUs of this machine."""
    return Node(float(own_cpus()), float(torch.cuda.device_count()))


def own_cpus() -> int:
    """The number of CPUs that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def with_resolved_precision(training: Spec, *, has_bf16: bool) -> Spec:
    """A copy of the training settings with `auto` resolved: one precision for all runs of a study."""
    bf16 = training.precision == "bf16" or (training.precision == "auto" and has_bf16)
    return training.model_copy(update={"precision": "bf16" if bf16 else "fp32"})


def cpus_per_gpu_share(gpus: float, nodes: Sequence[Node]) -> int:
    """CPUs of a process with a share of a GPU: the same share of its node's CPUs, to decode images.

    The node with the fewest CPUs per GPU decides, so that every node takes as many such processes as it has
    shares. Without a GPU, 1.
    """
    if not gpus:
        return 1
    shares = [node.cpus * gpus / node.gpus for node in nodes if node.gpus]
    return max(1, int(min(shares, default=1.0) + 1e-9))


def count_fitting(gpus: float, nodes: Sequence[Node]) -> int:
    """How many processes with this share of a GPU, and their CPUs, fit on the nodes."""
    cpus = cpus_per_gpu_share(gpus, nodes)
    return sum(min(int(node.cpus // cpus), _shares(gpus, node.gpus)) for node in nodes)


def _shares(gpus: float, available: float) -> int:
    """How many processes fit on a node's GPUs; a share below 1 is of a single GPU."""
    if not gpus:
        return sys.maxsize
    return int(available // gpus) if gpus >= 1 else int(1 / gpus + 1e-9) * int(available)


def concurrent_trials(resources: TrialResources, nodes: Sequence[Node]) -> int:
    """How many trials run at once on these machines, each process of a trial on one machine.

    Raises:
        ValueError: Not even one fits, or `concurrent` exceeds what fits (the message says what is needed and
            what is available), or no cluster can meet the request.
    """
    resources.check()
    workers, gpus = resources.workers_per_trial, resources.gpus_per_trial
    most = count_fitting(gpus, nodes) // workers
    need = f"{workers} CPU{'s' * (workers > 1)}" + (f" and {gpus * workers:g} GPUs" if gpus else "")
    available = f"{sum(n.cpus for n in nodes):g} CPUs and {sum(n.gpus for n in nodes):g} GPUs"
    if len(nodes) > 1:
        max_cpus, max_gpus = max(n.cpus for n in nodes), max(n.gpus for n in nodes)
        available += f" on {len(nodes)} nodes (at most {max_cpus:g} and {max_gpus:g} on one)"
    if most < 1:
        raise ValueError(f"a trial needs {need} but there are {available}")
    if resources.concurrent is not None and resources.concurrent > most:
        raise ValueError(
            f"--concurrent {resources.concurrent}: at most {most} trials of {need} fit in {available}"
        )
    return resources.concurrent or most
