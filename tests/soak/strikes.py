"""Random faults of a running study."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from commands import free_port, mlflow_server, run, stop_group, terminate_all, trial_processes

UNREACHABLE = 5.0
"""Seconds for which a server or a process is suspended, or a ledger locked."""


class Strikes:
    """Random faults, and the tracking server that some of them concern.

    Args:
        folder: Of the server.
        seed: Of the faults and their moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.port = free_port()
        self.seen: Counter[str] = Counter()
        """The number of each fault so far."""
        self.next = 0.0
        """The time of the next fault, by the monotonic clock."""
        self.server = self._server()
        self.wait()

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of every command."""
        return {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self.port}"}

    def wait(self) -> None:
        """Set the time of the next fault."""
        self.next = time.monotonic() + self.draw.uniform(20, 40)

    def close(self) -> None:
        """Stop the server."""
        stop_group(self.server[1])

    def _server(self) -> tuple[contextlib.AbstractContextManager[object], "subprocess.Popen[bytes]"]:
        context = mlflow_server(self.folder / "server", self.port)
        return context, context.__enter__()

    def one(self, pid: int, folder: Path) -> None:
        """Inflict a fault on the sweep with this process id, and set the time of the next."""
        fault: Callable[[int, Path], None] = self.draw.choice(
            [
                self._kill_driver,
                self._terminate_driver,
                self._terminate_all,
                self._interrupt_driver,
                self._kill_trial,
                self._halt_driver,
                self._lose_server,
                self._spoil_checkpoint,
                self._lock_ledger,
                self._pause_and_resume,
            ]
        )
        self.seen[fault.__name__.strip("_").replace("_", " ")] += 1
        with contextlib.suppress(ProcessLookupError):
            fault(pid, folder)
        self.wait()

    def _kill_driver(self, pid: int, folder: Path) -> None:
        os.kill(pid, signal.SIGKILL)

    def _terminate_driver(self, pid: int, folder: Path) -> None:
        os.kill(pid, signal.SIGTERM)

    def _terminate_all(self, pid: int, folder: Path) -> None:
        terminate_all(pid)

    def _interrupt_driver(self, pid: int, folder: Path) -> None:
        os.kill(pid, signal.SIGINT)

    def _kill_trial(self, pid: int, folder: Path) -> None:
        for one in trial_processes(pid)[:1]:
            os.kill(one, signal.SIGKILL)

    def _halt_driver(self, pid: int, folder: Path) -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(UNREACHABLE)
        os.kill(pid, signal.SIGCONT)

    def _lose_server(self, pid: int, folder: Path) -> None:
        stop_group(self.server[1])
        time.sleep(UNREACHABLE)
        self.server = self._server()

    def _spoil_checkpoint(self, pid: int, folder: Path) -> None:
        for path in sorted(folder.glob("studies/tiny/runs/*/*/checkpoint-*.safetensors"))[-1:]:
            with contextlib.suppress(OSError):
                content = path.read_bytes()
                path.write_bytes(content[: len(content) // 2])
        self._kill_trial(pid, folder)

    def _lock_ledger(self, pid: int, folder: Path) -> None:
        path = folder / "studies/tiny/ledger.db"
        if path.exists():
            connection = sqlite3.connect(path, timeout=30)
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(UNREACHABLE)
            connection.rollback()
            connection.close()

    def _pause_and_resume(self, pid: int, folder: Path) -> None:
        for command in ("pause", "resume"):
            run(folder, "__main__", command, "tiny", **self.variables)
