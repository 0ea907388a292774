"""Ray started or joined, and what fits on it."""

import json
import logging
import math
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import ray
import torch
from ray._private import ray_constants
from ray.exceptions import RayError

from lpstudy.data import cache_folder
from lpstudy.folder import Folder, Remote
from lpstudy.redaction import without_credentials
from lpstudy.space import Training
from lpstudy.study.loopback import on_loopback
from lpstudy.study.propagation import withhold_secrets
from lpstudy.training.precision import has_bf16

Spec = TypeVar("Spec", bound=Training)

DRIVER_CPUS = 0.01
"""Of a trial that only waits for its Train workers; Ray refuses 0."""
WORKER_CPUS = 0.99
"""Of each Train worker, so that one worker and its waiting trial fit on one core."""

LOOK_SECONDS = 2.0
"""Between two looks at what the cluster has."""
SHORT_SECONDS = 10.0
"""For which it must be too small before that is said."""
REACH_SECONDS = 10.0
"""How long a cluster's head may take to accept a connection."""
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set where a process was started by `ray job submit`; has what the job gave."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a trial asks for, and how many trials at once; None: as many as fit."""

    gpus_per_trial: float = 0.0
    workers_per_trial: int = 1
    concurrent: int | None = None


def ray_storage(folder: Folder) -> dict[str, Any]:
    """What Train is told of a folder; it knows few kinds of URL itself."""
    if not isinstance(folder, Remote):
        return {"storage_path": folder.url}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    system, path = folder.place()
    return {"storage_path": path, "storage_filesystem": PyFileSystem(FSSpecHandler(system))}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a study keeps its files and finds its data."""

    folder: Folder
    """Of the study, within the storage; found from everywhere."""
    data_root: Path | None


def prepare_environment() -> None:
    """Set, before Ray is started, what the user has not set: statistics off, quiet Tune."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "3600",
        "TUNE_FORCE_TRIAL_CLEANUP_S": "30",
        "TUNE_MAX_PENDING_TRIALS_PG": "10000",  # as many as the searcher gives; "auto" starts one at a time
    }.items():
        os.environ.setdefault(name, value)
    for name in ("LPSTUDY_CACHE", "LPSTUDY_DATA"):
        if name in os.environ:  # the actors have other working directories
            os.environ[name] = str(Path(os.environ[name]).absolute())


def _token_file() -> None:
    """Make the file that a local Ray reads its token from, for its owner's eyes alone (Ray's own is 0644)."""
    if "RAY_AUTH_TOKEN" in os.environ:
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))


def _reach(address: str) -> None:
    """Refuse an address at which nothing listens; Ray itself would try it for minutes."""
    if ":" in address:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()


def variables() -> dict[str, str]:
    """What the nodes of a cluster are told, the cache's folder in any case: it must be one for all.

    Ray refuses a variable that `ray job submit` has given to all nodes already.
    """
    given = json.loads(os.environ.get(JOB, "{}")).get("runtime_env", {}).get("env_vars", {})
    mine = {name: value for name, value in os.environ.items() if name.startswith("LPSTUDY_")}
    mine.setdefault("LPSTUDY_CACHE", str(cache_folder().absolute()))
    return {name: value for name, value in mine.items() if name not in given}


@contextmanager
def session() -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine for as long as the context lasts.

    Raises:
        ValueError: RAY_ADDRESS names no cluster that can be reached.
    """
    prepare_environment()
    withhold_secrets()
    ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = True  # at SIGTERM it may abort this process
    address = os.environ.get("RAY_ADDRESS")
    reached = False
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        if address:
            _reach(address)
            reached = True
            ray.init(
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                runtime_env={"env_vars": variables()},
            )
        else:
            _token_file()
            with on_loopback():
                ray.init(
                    address="local",
                    include_dashboard=True,
                    dashboard_host="127.0.0.1",
                    _node_ip_address="127.0.0.1",
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        reason = without_credentials(" ".join(str(error).split()))[:300]
        if not address:
            raise ValueError(f"Ray cannot be started on this machine: {reason}") from None
        shown = without_credentials(address)
        if reached:
            raise ValueError(
                f"RAY_ADDRESS={shown}: the Ray cluster does not let this machine in: it needs the token"
                " in the head's ~/.ray/auth_token (`ray get-auth-token` prints it there),"
                f" RAY_AUTH_MODE=token, and the same versions of Ray and Python ({reason})"
            ) from None
        raise ValueError(
            f"RAY_ADDRESS={shown}: cannot join the Ray cluster: start it, or unset the variable to run on"
            f" this machine alone ({reason})"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def resources() -> tuple[float, float]:
    """CPUs and GPUs of the cluster that was joined, or of this machine where none was."""
    if ray.is_initialized():
        have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # untyped in Ray
        return have.get("CPU", 0.0), have.get("GPU", 0.0)
    return float(own_cpus()), float(torch.cuda.device_count())


def own_cpus() -> int:
    """CPUs that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def settled(training: Spec, demand: Demand) -> Spec:
    """The same with a precision that is not `auto`: one for all of a study's runs, wherever they run."""
    gpus = min(1.0, demand.gpus_per_trial)
    bf16 = training.precision == "bf16" or (training.precision == "auto" and _has_bf16(gpus))
    return training.model_copy(update={"precision": "bf16" if bf16 else "fp32"})


@cache
def _has_bf16(gpus: float) -> bool:
    """Asked of a node with a GPU where trials have one, for the driver's may have none."""
    if not gpus:
        return has_bf16(torch.device("cpu"))
    task: Any = ray.remote(_gpu_has_bf16)
    return bool(ray.get(task.options(num_cpus=0, num_gpus=gpus).remote()))


def _gpu_has_bf16() -> bool:
    return has_bf16(torch.device("cuda"))


def nodes() -> int:
    """How many are alive; 0 where the session has ended."""
    try:
        known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # untyped in Ray
    except RayError:
        return 0
    return sum(bool(node["Alive"]) for node in known)


def smallest_node() -> int:
    """CPUs of the smallest node that has any; at least 1."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # untyped in Ray
    sizes = [int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]]
    return min((size for size in sizes if size), default=1)


def concurrent_trials(demand: Demand, *, cpus: float, gpus: float) -> int:
    """How many trials run at once.

    Raises:
        ValueError: Not even one fits, or more are asked for than fit; says what is needed and what there is.
    """
    workers = demand.workers_per_trial
    needed_gpus = demand.gpus_per_trial * workers
    most = int(cpus // workers)
    if demand.gpus_per_trial:
        if demand.gpus_per_trial > 1 and demand.gpus_per_trial != int(demand.gpus_per_trial):
            raise ValueError(
                f"--gpus-per-trial must be at most 1 or a whole number but got {demand.gpus_per_trial:g}"
            )
        most = min(most, int(gpus / needed_gpus + 1e-9))
    need = f"{workers} CPU{'s' * (workers > 1)}" + (f" and {needed_gpus:g} GPUs" if needed_gpus else "")
    have = f"{cpus:g} CPUs and {gpus:g} GPUs"
    if most < 1:
        raise ValueError(f"a trial needs {need} but there are {have}")
    if demand.concurrent is not None and demand.concurrent > most:
        raise ValueError(f"--concurrent {demand.concurrent}: at most {most} trials of {need} fit in {have}")
    return demand.concurrent or most


class Capacity:
    """How many trials run at once, as the cluster is now: nodes come and go.

    Args:
        demand: Of a trial.
        say: Told once, when not even one has fitted for a while; from any thread.
    """

    def __init__(self, demand: Demand, say: Callable[[str], None] = lambda text: None) -> None:
        self.demand, self._say = demand, say
        self._looked, self._most = -math.inf, 0
        self._short, self._since, self._said = "", 0.0, False

    def __call__(self) -> int:
        """Looked up anew every few seconds."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._look()
        return self._most

    def short(self) -> str:
        """Why not even one fits; empty where one does."""
        self()
        if self._short and not self._said and time.monotonic() - self._since >= SHORT_SECONDS:
            self._said = True
            self._say(f"waiting for the cluster: {self._short}")
        return self._short

    def _look(self) -> None:
        try:
            cpus, gpus = resources()
            most = concurrent_trials(replace(self.demand, concurrent=None), cpus=cpus, gpus=gpus)
        except RayError:  # the session has ended
            pass
        except ValueError as error:
            self._since = self._since if self._short else time.monotonic()
            self._most, self._short = 0, str(error)
        else:
            self._most, self._short, self._said = min(most, self.demand.concurrent or most), "", False
