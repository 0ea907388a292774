"""Ray started or joined, for as long as a study runs."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._private import ray_constants, worker
from ray.exceptions import RayError

from lpstudy import environment
from lpstudy.data import shared_cache
from lpstudy.redaction import without_credentials
from lpstudy.study.cluster_address import VARIABLE, cluster_address
from lpstudy.study.head import TOKEN, check_head
from lpstudy.study.interrupts import apart, held_back
from lpstudy.study.limits import Abandon, time_limit
from lpstudy.study.loopback import on_loopback
from lpstudy.study.machine import check_machine
from lpstudy.study.propagation import withhold_secrets
from lpstudy.terminal import say

JOIN_SECONDS = 25.0
"""For a cluster to be joined."""
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set where a process was started by `ray job submit`; has what the job gave."""


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
    environment.settle()  # the actors have other working directories


def variables() -> dict[str, str]:
    """What the nodes of a cluster are told, the cache's folder in any case: it must be one for all.

    Ray refuses a variable that `ray job submit` has given to all nodes already.
    """
    given = json.loads(os.environ.get(JOB, "{}")).get("runtime_env", {}).get("env_vars", {})
    mine = {name: value for name, value in os.environ.items() if name.startswith("LPSTUDY_")}
    mine.setdefault("LPSTUDY_CACHE", shared_cache().resolve().url)
    return {name: value for name, value in mine.items() if name not in given}


def _end_with_words(error: BaseException) -> int:
    say(f"lpstudy: {error}")
    return 1


@contextmanager
def ray_session(abandon: Abandon = _end_with_words) -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine for as long as the context lasts.

    Args:
        abandon: Called from another thread before the process is ended, where joining takes longer than
            JOIN_SECONDS or does not react to a signal; prints why, returns the exit code.

    Raises:
        ValueError: RAY_ADDRESS names no cluster that can be reached, or Ray cannot be started here.
    """
    prepare_environment()
    withhold_secrets()
    ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = True  # at SIGTERM it may abort this process
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    worker.print_to_stdstream = _print_nothing  # a raylet that is killed has its log printed
    try:
        if (address := cluster_address()) is None:
            os.environ.pop(VARIABLE, None)
            check_machine()
            _start()
        else:
            _join(address, abandon)
        yield
    finally:
        ray.shutdown()


def _print_nothing(data: object, ignore_prefix: bool = False) -> None:
    """In place of what Ray prints of other processes' errors: those that matter come as exceptions."""


def _join(address: str, abandon: Abandon) -> None:
    """Join the cluster whose head is at an address."""
    shown = f"{VARIABLE}={without_credentials(os.environ[VARIABLE])}"
    slow = (
        f"{shown}: the Ray cluster did not let this machine in within {JOIN_SECONDS:g} s: is its head alive?"
    )
    try:
        with time_limit(JOIN_SECONDS, slow, abandon):
            check_head(address)
            with held_back():
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    runtime_env={"env_vars": variables()},
                )
                ray.nodes()  # type: ignore[no-untyped-call]  # untyped in Ray
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from None
    except (OSError, RuntimeError, RayError) as error:
        raise ValueError(f"{shown}: {TOKEN} ({_words(error)})") from None


def _start() -> None:
    """Start a Ray of this machine alone."""
    try:
        with held_back(), on_loopback(), apart():
            ray.init(
                address="local",
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                _node_ip_address="127.0.0.1",
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise ValueError(f"Ray cannot be started on this machine: {_words(error)}") from None


def _words(error: Exception) -> str:
    return without_credentials(" ".join(str(error).split()))[:300]
