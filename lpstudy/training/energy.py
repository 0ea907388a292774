"""The energy counters of this machine: RAPL of its CPU packages, NVML of a GPU; absent where it has none."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows RAPL's counters, mostly to root alone. Source: docs.kernel.org/power/powercap."""
STAT = Path("/proc/stat")
_BUSY = (1, 2, 3, 6, 7, 8)
"""Fields of the first line of /proc/stat in which a CPU works: user, nice, system, irq, softirq, steal."""
_MICRO, _MILLI = 1e-6, 1e-3


class EnergyCounters:
    """The energy that this process takes, in joules, from the construction on.

    A package's energy is divided among the machine's processes by their CPU time, a GPU's by their shares.

    Args:
        device: The GPU; None for work on the CPU.
    """

    def __init__(self, device: torch.device | None) -> None:
        self._packages = [
            _Package(folder) for folder in sorted(POWERCAP.glob("intel-rapl:*")) if _counts(folder)
        ]
        self._machine_start = _machine_seconds() if self._packages else 0.0
        self._gpu = None if device is None else _gpu_counter(device)
        self._gpu_start = None if self._gpu is None else self._gpu()

    def joules(self, cpu_seconds: float, *, gpus: float) -> dict[str, float]:
        """`cpu_joules` and `gpu_joules`, as far as the machine measures them.

        Args:
            cpu_seconds: CPU time of this process since the construction.
            gpus: The process's share of the GPU.
        """
        figures: dict[str, float] = {}
        with suppress(OSError, ValueError):  # a counter that is no longer readable: no figure, no failed run
            if self._packages:
                machine = _machine_seconds() - self._machine_start
                share = min(1.0, cpu_seconds / machine) if machine > 0 else 0.0
                figures["cpu_joules"] = share * sum(package.joules() for package in self._packages)
        if self._gpu is not None and self._gpu_start is not None and (now := self._gpu()) is not None:
            figures["gpu_joules"] = gpus * (now - self._gpu_start)
        return figures


class _Package:
    """A CPU package's counter, which starts anew from 0 after some minutes to hours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._range = _number(folder / "max_energy_range_uj")
        self._last, self._sum = _number(folder / "energy_uj"), 0

    def joules(self) -> float:
        """Joules since the construction; it must be read at least once in each range of the counter."""
        reading = _number(self._folder / "energy_uj")
        self._sum += (reading - self._last) % (self._range + 1)
        self._last = reading
        return _MICRO * self._sum


def _counts(folder: Path) -> bool:
    """Whether a folder is that of a whole package, and readable."""
    try:
        _number(folder / "energy_uj"), _number(folder / "max_energy_range_uj")
        return folder.name.count(":") == 1 and (folder / "name").read_text().startswith("package")
    except (OSError, ValueError):
        return False


def _number(path: Path) -> int:
    return int(path.read_text())


def _machine_seconds() -> float:
    """CPU time of all processes of the machine since its start."""
    fields = STAT.read_text().split("\n", 1)[0].split()
    return sum(int(fields[column]) for column in _BUSY) / os.sysconf("SC_CLK_TCK")


def _gpu_counter(device: torch.device) -> Callable[[], float | None] | None:
    """Reads a GPU's joules since its driver was loaded, None where it counts none; None without pynvml."""
    try:
        import pynvml  # type: ignore[import-not-found,unused-ignore]  # optional: no dependency of lpstudy
    except ImportError:
        return None
    nvml: Any = pynvml
    try:
        nvml.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    except nvml.NVMLError:
        return None

    def joules() -> float | None:
        try:
            return _MILLI * float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        except nvml.NVMLError:
            return None

    return joules
