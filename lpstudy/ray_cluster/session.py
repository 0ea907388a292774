"""The Ray session of a study: a cluster that is joined, or a Ray started on this machine."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError

from lpstudy import environment
from lpstudy.cache import shared_cache
from lpstudy.one_line import one_line
from lpstudy.ray_cluster.cluster_address import VARIABLE, cluster_address
from lpstudy.ray_cluster.head import TOKEN, check_head
from lpstudy.ray_cluster.machine import check_machine
from lpstudy.ray_cluster.ray_patches import (
    be_quiet,
    defer_signals,
    on_loopback,
    own_sessions,
    withhold_secrets,
)
from lpstudy.ray_cluster.time_limit import Abandon, time_limit
from lpstudy.redaction import without_credentials
from lpstudy.terminal import say

JOIN_SECONDS = 25.0
"""Time limit for joining a cluster."""


def prepare_environment() -> None:
    """Set the variables that the user has not set, before Ray starts: no usage statistics, a quiet Tune."""
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
    environment.normalize_variables()  # the actors have other working directories


def variables() -> dict[str, str]:
    """The environment variables for a cluster's nodes; they always include the cache's folder.

    Ray refuses a variable that `ray job submit` has already passed to all nodes.
    """
    job_variables = (
        json.loads(os.environ.get(environment.JOB, "{}")).get("runtime_env", {}).get("env_vars", {})
    )
    own_variables = {name: value for name, value in os.environ.items() if name.startswith("LPSTUDY_")}
    own_variables.setdefault("LPSTUDY_CACHE", shared_cache().resolve().url)
    return {name: value for name, value in own_variables.items() if name not in job_variables}


def _print_error(error: BaseException) -> int:
    say(f"lpstudy: {error}")
    return 1


@contextmanager
def ray_session(abandon: Abandon = _print_error) -> Iterator[None]:
    """A context in which the cluster at RAY_ADDRESS is joined, or a Ray runs on this machine.

    Args:
        abandon: Called from another thread before the process ends, if joining takes longer than
            JOIN_SECONDS or does not react to a signal; prints why and returns the exit code.

    Raises:
        ValueError: RAY_ADDRESS names no cluster that can be reached, or Ray cannot be started here.
    """
    prepare_environment()
    withhold_secrets()
    be_quiet()
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
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


def _join(address: str, abandon: Abandon) -> None:
    """Join the cluster whose head has this address."""
    setting = f"{VARIABLE}={without_credentials(os.environ[VARIABLE])}"
    slow = f"{setting}: the cluster did not accept this machine within {JOIN_SECONDS:g} s: is its head alive?"
    try:
        with time_limit(JOIN_SECONDS, slow, abandon):
            check_head(address)
            with defer_signals():
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    runtime_env={"env_vars": variables()},
                )
                ray.nodes()  # type: ignore[no-untyped-call]  # untyped in Ray
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None
    except (OSError, RuntimeError, RayError) as error:
        raise ValueError(f"{setting}: {TOKEN} ({without_credentials(one_line(error))[:300]})") from None


def _start() -> None:
    """Start Ray on this machine alone."""
    try:
        with defer_signals(), on_loopback(), own_sessions():
            ray.init(
                address="local",
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                _node_ip_address="127.0.0.1",
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise ValueError(
            f"Ray cannot be started on this machine: {without_credentials(one_line(error))[:300]}"
        ) from None
