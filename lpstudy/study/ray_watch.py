"""Ray's own processes watched while a study runs: where they are lost it pauses, for Ray would hang."""

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
from ray._private import ray_constants, worker

from lpstudy.study.control import PausedError, StudyControl
from lpstudy.study.head import silent
from lpstudy.threads import GuardedThread

POLL_SECONDS = 1.0
OWN_SILENT_SECONDS = 15.0
"""For which the servers of a Ray that the sweep has started may be silent."""
CLUSTER_SILENT_SECONDS = 35.0
"""The same of a cluster that was joined: its head may be started again. After 60 s Ray ends this process."""
ROUNDS = 3
"""Questions in a row without an answer: a machine that was suspended has one at most."""
CHECKPOINT_SECONDS = 3.0
"""For trials to write a checkpoint before what is left of Ray is killed."""
SERVERS = {
    ray_constants.PROCESS_TYPE_RAYLET: "raylet",
    ray_constants.PROCESS_TYPE_GCS_SERVER: "gcs_server",
}
"""Without one of which nothing runs; the dashboard and the log monitor may die."""


@contextmanager
def watching(control: StudyControl) -> Iterator["RayWatch"]:
    """Within it the study pauses where Ray is lost; at the end nothing is left of a lost Ray."""
    watch = RayWatch(control, _own_servers(), _addresses())
    watch.thread.start()
    try:
        yield watch
    finally:
        watch.thread.stop(2 * POLL_SECONDS)
        if watch.lost:
            kill_own_processes()
            ray.shutdown()


class RayWatch:
    """Looks at Ray's servers: whether the processes are there, and whether they answer.

    Args:
        control: Is told to pause.
        processes: The servers that this process has started, by their names; none where a cluster was joined.
        addresses: Names of the servers that this process needs, by their addresses.
    """

    def __init__(
        self,
        control: StudyControl,
        processes: Mapping[str, "subprocess.Popen[bytes]"],
        addresses: Mapping[str, str],
    ) -> None:
        self._control, self._processes, self._addresses = control, processes, addresses
        self.lost = False
        """Whether Ray can do nothing more."""
        self.thread = GuardedThread("ray", self._follow, control.fail_thread("ray"))

    def is_lost(self) -> bool:
        """Whether Ray can do nothing more, as far as is known at once; the study is to pause then."""
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
            names = [self._addresses[one] for one in silent(list(self._addresses))]
            if not names:
                rounds = 0
                continue
            since, rounds = since if rounds else asked_at, rounds + 1
            taken = time.monotonic() - since
            if rounds >= ROUNDS and taken >= self._patience():
                return self._lose(f"Ray's {' and '.join(names)} did not answer for {taken:.0f} s", stop)

    def _patience(self) -> float:
        return OWN_SILENT_SECONDS if self._processes else CLUSTER_SILENT_SECONDS

    def _ended(self) -> str:
        """Which of the processes that this one has started has ended; empty where none has."""
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


def _own_servers() -> dict[str, "subprocess.Popen[bytes]"]:
    node: Any = worker._global_node
    if node is None or not node.head:
        return {}
    started: Mapping[str, Any] = node.all_processes
    return {name: started[kind][0].process for kind, name in SERVERS.items() if kind in started}


def _addresses() -> dict[str, str]:
    own = ray.get_runtime_context().get_node_id()
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # untyped in Ray
    found = {ray.get_runtime_context().gcs_address: "head"}
    for node in known:
        if node["NodeID"] == own:
            found[f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"] = "raylet"
    return found


def kill_own_processes() -> None:
    """SIGKILL to all that a Ray of this process has started (Linux): each server leads a session of its own.

    Nothing where a cluster was joined.
    """
    node: Any = worker._global_node
    if node is None or not node.head:
        return
    started = [info.process.pid for infos in node.all_processes.values() for info in infos]
    leaders = {pid for pid in started if pid != os.getsid(0)}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            session = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[3])
            if session in leaders:
                os.kill(int(entry.name), signal.SIGKILL)
