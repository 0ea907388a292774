"""Ray started or joined, for as long as a study runs."""

import json
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import ray
from ray._private import ray_constants
from ray.exceptions import RayError

from lpstudy import environment
from lpstudy.data import shared_cache
from lpstudy.redaction import without_credentials
from lpstudy.study.interrupts import apart, held_back
from lpstudy.study.loopback import on_loopback
from lpstudy.study.propagation import withhold_secrets

REACH_SECONDS = 10.0
"""How long a cluster's head may take to accept a connection."""
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


def _token_file() -> None:
    """Make the file that a local Ray reads its token from, for its owner's eyes alone (Ray's own is 0644)."""
    if "RAY_AUTH_TOKEN" in os.environ:
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with NamedTemporaryFile("w", dir=path.parent, prefix=".auth_token-") as whole:  # 0600 from its begin
            whole.write(secrets.token_hex(32))
            whole.flush()
            with suppress(FileExistsError):  # another study begins in this moment: both take the same one
                os.link(whole.name, path)
    path.chmod(0o600)


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
    mine.setdefault("LPSTUDY_CACHE", shared_cache().resolve().url)
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
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with held_back():
            _start(os.environ.get("RAY_ADDRESS"))
        yield
    finally:
        ray.shutdown()


def _start(address: str | None) -> None:
    """Join the cluster at an address, or start one of this machine alone."""
    reached = False
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
            with on_loopback(), apart():
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
