"""A process as others may know it: on which machine, which one, since when."""

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
    """When it began to hold, by its own clock; to be shown, never compared."""
    machine: str
    """Names the running system, and the processes that see each other in it."""
    started: str
    """What tells the process from a later one with its number."""

    def __str__(self) -> str:
        return f"host {self.host}, pid {self.pid}, since {self.since}"

    def is_alive(self) -> bool:
        """Whether it is a process of this machine that is there."""
        return self.machine == _machine() and _started(self.pid) == self.started

    def has_ended(self) -> bool:
        """Whether it was a process of this machine and is not there any more."""
        return self.machine == _machine() and _started(self.pid) != self.started

    def as_json(self) -> dict[str, object]:
        """As JSON."""
        return asdict(self)


def this_process() -> ProcessId:
    """This process."""
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return ProcessId(socket.gethostname(), os.getpid(), since, _machine(), _started(os.getpid()) or "")


@cache
def _machine() -> str:
    """Of two containers on one host, different ones: they do not see each other's processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return socket.gethostname()


def _started(pid: int) -> str | None:
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
