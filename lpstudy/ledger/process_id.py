"""The identity of a process: its machine, process number and start."""

import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessId:
    """The process that runs a study."""

    host: str
    pid: int
    since: str
    """When it acquired the lease, by its own clock; for display, never compared."""
    machine: str
    """The boot and the process namespace: processes with the same value see each other."""
    started: str
    """The process's start, which distinguishes it from a later process with the same number."""

    def __str__(self) -> str:
        return f"host {self.host}, pid {self.pid}, since {self.since}"

    def is_alive(self) -> bool:
        """Whether the process runs on this machine."""
        return self.machine == _machine() and _start_of(self.pid) == self.started

    def has_ended(self) -> bool:
        """Whether the process ran on this machine and has ended."""
        return self.machine == _machine() and _start_of(self.pid) != self.started

    def as_json(self) -> dict[str, object]:
        """The process as a JSON object."""
        return asdict(self)


def this_process() -> ProcessId:
    """The identity of this process."""
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return ProcessId(socket.gethostname(), os.getpid(), since, _machine(), _start_of(os.getpid()) or "")


@cache
def _machine() -> str:
    """The machine; two containers of one host differ, for they do not see each other's processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return socket.gethostname()


def _start_of(pid: int) -> str | None:
    """Clock ticks from the system's start to the process's; None where there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    try:  # no Linux
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"
