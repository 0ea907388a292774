"""A context in which Ray's servers listen on 127.0.0.1 only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ray._private import ray_constants

VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@contextmanager
def on_loopback() -> Iterator[None]:
    """A context in which `ray.init` starts a Ray that no other machine can reach.

    On Linux Ray replaces a loopback address by the machine's outward one, and most of its processes listen on
    all addresses. Where clusters are disabled, as on Windows and macOS, it uses 127.0.0.1 only. Ray reads the
    variable on import: this process is configured by the constant, its child processes by the variable.

    Source: `get_node_ip_address` in ray/_private/services.py, Ray 2.60.
    """
    variable, constant = os.environ.get(VARIABLE), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[VARIABLE], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = constant
        if variable is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = variable
