"""The meter of what this process spends: CPU time, time on a GPU, memory, and energy where it is measured."""

import math
import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from lpstudy.spending import PEAKS, SPENDING, SUMS
from lpstudy.training import parallel
from lpstudy.training.energy import EnergyCounters

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_RESET_PEAK = "5"
"""What resets a process's peak of resident memory. Source: proc_pid_clear_refs(5)."""


class Meter:
    """What this process spends from the meter's construction on, besides what an interrupted part has spent.

    Args:
        device: The device of the work.
        gpus: The share of a GPU that the process has.
    """

    def __init__(self, device: torch.device, *, gpus: float = 1.0) -> None:
        self._device = device
        self._gpus = gpus if device.type == "cuda" else 0.0
        self._earlier: Mapping[str, float] | None = {}
        self._start_cpu, self._start_time = cpu_seconds(), time.monotonic()
        self._energy = EnergyCounters(device if self._gpus else None)
        self._resets_peak = _reset_peak()
        if self._gpus:
            torch.cuda.reset_peak_memory_stats(device)

    def resume(self, earlier: Mapping[str, float]) -> None:
        """Add up with the figures of an interrupted part; without any, the whole is not known."""
        spent = {name: earlier[name] for name in SPENDING if name in earlier}
        self._earlier = spent or None

    def figures(self) -> dict[str, float]:
        """The figures by name, over all workers of the run: see `lpstudy.spending`; all workers must call it.

        Sums are those of all workers, except wall time; peaks are those of the largest one.
        """
        own = _over_workers(self._own())
        if self._earlier is None:
            return {}
        if not self._earlier:
            return own
        sums = {
            name: self._earlier[name] + own[name] for name in SUMS if name in own and name in self._earlier
        }
        peaks = {name: max(self._earlier.get(name, 0.0), own[name]) for name in PEAKS if name in own}
        return sums | peaks

    def _own(self) -> dict[str, float]:
        """The figures of this process since the meter's construction."""
        wall, cpu = time.monotonic() - self._start_time, cpu_seconds() - self._start_cpu
        figures = {"cpu_seconds": cpu, "gpu_seconds": self._gpus * wall, "wall_seconds": wall}
        if self._resets_peak and (peak := _peak_bytes()) is not None:
            figures["peak_bytes"] = peak
        if self._gpus:
            figures["peak_gpu_bytes"] = float(torch.cuda.max_memory_allocated(self._device))
        return figures | self._energy.joules(cpu, gpus=self._gpus)


def cpu_seconds() -> float:
    """CPU time of this process and of its children: user and system, all threads.

    Children are the processes that decode images.
    """
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + sum(map(_cpu_seconds_of, _children()))


def _children() -> list[str]:
    """The ids of the live child processes; none where the system does not list them."""
    ids: list[str] = []
    try:
        for thread in (_PROC / "self" / "task").iterdir():
            ids += (thread / "children").read_text().split()
    except OSError:  # a thread that has ended meanwhile, or another system
        return ids
    return ids


def _cpu_seconds_of(process: str) -> float:
    try:
        stat = (_PROC / process / "stat").read_text()
    except OSError:  # it has ended meanwhile: the next reading has it among the ended ones
        return 0.0
    fields = stat.rpartition(")")[
        2
    ].split()  # from the third field on: the second one, a name, may hold spaces
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _reset_peak() -> bool:
    """Reset this process's peak of resident memory; False where the system cannot."""
    try:
        (_PROC / "self" / "clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def _peak_bytes() -> float | None:
    """This process's peak of resident memory since its reset; None where the system does not tell."""
    try:
        lines = (_PROC / "self" / "status").read_text().splitlines()
    except OSError:
        return None
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def _over_workers(own: dict[str, float]) -> dict[str, float]:
    """The figures of all workers of the run together; one that a worker lacks is left out."""
    if parallel.world_size() == 1:
        return own
    rows = parallel.gather_numbers([own.get(name, math.nan) for name in SPENDING])
    columns = dict(zip(SPENDING, zip(*rows, strict=True), strict=True))
    together = {name: max(values) if name in PEAKS else sum(values) for name, values in columns.items()}
    together["wall_seconds"] = own["wall_seconds"]
    missing = {name for name, values in columns.items() if any(map(math.isnan, values))}
    return {name: value for name, value in together.items() if name not in missing}
