"""A watch over Ray's servers, which pauses the study if they are lost: Ray itself would hang."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray

from lpstudy.ray_cluster.head import silent_servers
from lpstudy.ray_cluster.ray_patches import own_processes, own_servers
from lpstudy.study.control import PausedError, StudyControl
from lpstudy.threads import GuardedThread

POLL_SECONDS = 1.0
OWN_SILENT_SECONDS = 15.0
"""How long the servers of a Ray that the sweep started may fail to answer."""
CLUSTER_SILENT_SECONDS = 35.0
"""The same for a joined cluster, whose head may be restarted. After 60 s Ray ends this process."""
ROUNDS = 3
"""Unanswered requests in a row; a machine that was suspended has one at most."""
CHECKPOINT_SECONDS = 3.0
"""Time for trials to write a checkpoint before the rest of Ray is killed."""


@contextmanager
def watching(control: StudyControl) -> Iterator["RayWatch"]:
    """A context in which the study pauses if Ray is lost; at its end, a lost Ray's processes are killed."""
    watch = RayWatch(control, own_servers(), _addresses())
    watch.thread.start()
    try:
        yield watch
    finally:
        watch.thread.stop(2 * POLL_SECONDS)
        if watch.lost:
            kill_own_processes()
            ray.shutdown()


class RayWatch:
    """A watch over Ray's servers: whether their processes exist, and whether they answer.

    Args:
        control: The study's control, which is paused if Ray is lost.
        processes: The servers that this process started, by name; empty if a cluster was joined.
        addresses: The names of the servers that this process needs, by address.
    """

    def __init__(
        self,
        control: StudyControl,
        processes: Mapping[str, "subprocess.Popen[bytes]"],
        addresses: Mapping[str, str],
    ) -> None:
        self._control, self._processes, self._addresses = control, processes, addresses
        self.lost = False
        """Whether Ray has failed for good."""
        self.thread = GuardedThread("ray", self._follow, control.fail_thread("ray"))

    def is_lost(self) -> bool:
        """Whether Ray has failed, as far as can be told without waiting; if so, the study pauses."""
        if not self.lost and (reason := self._ended()):
            self.lost = True
            self._control.fail(PausedError(reason), seconds=0.0)
        return self.lost

    def _follow(self, stop: threading.Event) -> None:
        since, rounds = 0.0, 0
        while not stop.wait(POLL_SECONDS):
            if reason := self._ended():
                return self._lose(reason, stop)
            asked_at = time.monotonic()
            names = [self._addresses[one] for one in silent_servers(list(self._addresses))]
            if not names:
                rounds = 0
                continue
            since, rounds = since if rounds else asked_at, rounds + 1
            duration = time.monotonic() - since
            if rounds >= ROUNDS and duration >= self._patience():
                return self._lose(f"Ray's {' and '.join(names)} did not answer for {duration:.0f} s", stop)

    def _patience(self) -> float:
        return OWN_SILENT_SECONDS if self._processes else CLUSTER_SILENT_SECONDS

    def _ended(self) -> str:
        """Which of the servers that this process started has ended; empty if none has."""
        for name, process in self._processes.items():
            code = process.poll()
            if code is not None:
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                return f"Ray's {name} on this machine has ended ({how})"
        return ""

    def _lose(self, reason: str, stop: threading.Event) -> None:
        self.lost = True
        self._control.fail(PausedError(reason), seconds=CHECKPOINT_SECONDS)
        stop.wait(CHECKPOINT_SECONDS)
        kill_own_processes()  # a call that waits for one of them ends


def _addresses() -> dict[str, str]:
    node_id = ray.get_runtime_context().get_node_id()
    all_nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # untyped in Ray
    addresses = {ray.get_runtime_context().gcs_address: "head"}
    for node in all_nodes:
        if node["NodeID"] == node_id:
            addresses[f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"] = "raylet"
    return addresses


def kill_own_processes() -> None:
    """Kill all processes of a Ray that this process started (Linux): each server leads a session of its own.

    It does nothing if a cluster was joined.
    """
    pids = [process.pid for processes in own_processes().values() for process in processes]
    leaders = {pid for pid in pids if pid != os.getsid(0)}
    if not leaders:
        return
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            session = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[3])
            if session in leaders:
                os.kill(int(entry.name), signal.SIGKILL)
