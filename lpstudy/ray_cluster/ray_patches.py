"""All that lpstudy uses of Ray's private names: accessors, and changes of its behaviour.

`tests/test_private_names.py` fails by name where one of them is gone; pyproject.toml bounds Ray's version.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from ray._common.utils import get_default_ray_temp_dir
from ray._private import ray_constants, services, utils, worker
from ray._private.gcs_utils import create_gcs_channel
from ray.core.generated import gcs_service_pb2
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
from ray.tune.execution import class_cache

from lpstudy.signals import debounced

RAY = "2.60"
"""The version of Ray whose sources the functions below name."""
LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
SECRETS = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"})
SERVERS = {
    ray_constants.PROCESS_TYPE_RAYLET: "raylet",
    ray_constants.PROCESS_TYPE_GCS_SERVER: "gcs_server",
}
"""The servers that Ray cannot do without; the dashboard and the log monitor may die."""


def temporary_folder() -> Path:
    """The folder of Ray's sockets and logs."""
    return Path(get_default_ray_temp_dir())  # type: ignore[no-untyped-call]  # untyped in Ray


def started_address() -> str:
    """The address that the last `ray start` on this machine recorded; empty if there is none."""
    return (utils.read_ray_address() or "").strip()


def open_channel(address: str) -> Any:
    """A gRPC channel to one of Ray's servers, with its token."""
    return create_gcs_channel(address)


def check_alive(channel: Any, *, timeout: float) -> str:
    """The version of the Ray whose head answers on a channel.

    Raises:
        grpc.RpcError: Nothing answers.
    """
    messages: Any = gcs_service_pb2  # its classes are created on import
    stub: Any = NodeInfoGcsServiceStub(channel)  # type: ignore[no-untyped-call]  # untyped in Ray
    return str(stub.CheckAlive(messages.CheckAliveRequest(), timeout=timeout).ray_version)


def own_processes() -> Mapping[str, "list[subprocess.Popen[bytes]]"]:
    """The processes of a Ray that this process started, by type; empty if a cluster was joined."""
    node: Any = worker._global_node
    if node is None or not node.head:
        return {}
    return {kind: [info.process for info in infos] for kind, infos in node.all_processes.items()}


def own_servers() -> dict[str, "subprocess.Popen[bytes]"]:
    """The servers of a Ray that this process started, by name; empty if a cluster was joined."""
    processes = own_processes()
    return {name: processes[kind][0] for kind, name in SERVERS.items() if kind in processes}


def be_quiet() -> None:
    """Keep Ray from printing other processes' errors (those that matter raise), and from handling SIGTERM.

    At SIGTERM its own handler may abort this process.
    """
    worker.print_to_stdstream = _print_nothing  # a raylet that is killed has its log printed
    ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = True


def _print_nothing(data: object, ignore_prefix: bool = False) -> None:
    """A replacement for `print_to_stdstream`."""


def withhold_secrets() -> None:
    """Remove AWS credentials from the variables that Tune passes to trials: Ray writes these into its logs.

    Trials on this machine inherit the variables; the nodes of a cluster have their own credentials.

    Source: `_ActorClassCache` in ray/tune/execution/class_cache.py.
    """
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)


@contextmanager
def on_loopback() -> Iterator[None]:
    """A context in which `ray.init` starts a Ray that no other machine can reach.

    On Linux Ray replaces a loopback address by the machine's outward one, and most of its processes listen on
    all addresses. Where clusters are disabled, as on Windows and macOS, it uses 127.0.0.1 only. Ray reads the
    variable on import: this process is configured by the constant, its child processes by the variable.

    Source: `get_node_ip_address` in ray/_private/services.py.
    """
    variable = os.environ.get(LOOPBACK_VARIABLE)
    os.environ[LOOPBACK_VARIABLE] = "0"
    try:
        with _replaced(ray_constants, "ENABLE_RAY_CLUSTER", False):
            yield
    finally:
        if variable is None:
            del os.environ[LOOPBACK_VARIABLE]
        else:
            os.environ[LOOPBACK_VARIABLE] = variable


@contextmanager
def defer_signals() -> Iterator[None]:
    """A context that delays SIGINT and SIGTERM to its end, where this process has its own handlers for them.

    Ray forks when it starts, and Python reports and drops an exception that a handler raises within a hook of
    a fork, so the signal would be lost. Ray's own handler of SIGTERM, which raises too, is not installed. A
    second signal is not delayed.

    Source: `os.register_at_fork`; `set_sigterm_handler` in ray/_private/utils.py.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    own_handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    received: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    handler = debounced(wait)
    has_own = signal.SIGTERM in own_handlers
    with _replaced(utils, "set_sigterm_handler", _install_nothing) if has_own else nullcontext():
        for number in own_handlers:
            signal.signal(number, handler)
        try:
            yield
        finally:
            for number, own_handler in own_handlers.items():
                signal.signal(number, own_handler)
    if received:
        signal.raise_signal(received[0])


def _install_nothing(handler: object) -> None:
    """A replacement for `set_sigterm_handler`."""


class _ProcessInOwnSession(services.ConsolePopen):
    """A child process of Ray in a session of its own, with SIGTERM blocked."""

    def __init__(self, *args: Any, **words: Any) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # it inherits that
        try:
            super().__init__(*args, start_new_session=True, **words)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def terminate(self) -> None:
        """Kill the process and its children by SIGKILL, because SIGTERM is blocked."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


@contextmanager
def own_sessions() -> Iterator[None]:
    """A context in which Ray's child processes survive signals to this process's group or user.

    timeout(1) and `kill -- -GROUP` signal a group; systemd and a machine that shuts down signal all of them.
    Ray's head and the trials would end before the trials have written their checkpoints. They still end with
    this process, even at SIGKILL: Ray asks Linux for that. On other systems Ray ends them as a group, so they
    stay in this process's group. Ray itself protects them from SIGINT.

    Source: `start_ray_process` in ray/_private/services.py.
    """
    on_linux = sys.platform == "linux"
    with _replaced(services, "ConsolePopen", _ProcessInOwnSession) if on_linux else nullcontext():
        yield


@contextmanager
def _replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    """A context in which a module's attribute has another value."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
