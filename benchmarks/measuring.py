"""Tools of the benchmarks: the gate, interleaved CPU time, medians, tables, results as JSON."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor


class DisagreementError(ArithmeticError):
    """Two sides that should compute the same thing do not: their times are no comparison."""


def agree(what: str, one: Sequence[Tensor], other: Sequence[Tensor], *, limit: float = 1e-3) -> float:
    """The gate before a comparison: |one - other| / |one| over all the tensors together, in float64.

    Raises:
        DisagreementError: It is above the limit, or not a number; or the shapes differ.
    """
    if [tensor.shape for tensor in one] != [tensor.shape for tensor in other]:
        raise DisagreementError(f"{what} has another shape")
    first, second = (
        torch.cat([tensor.detach().double().flatten() for tensor in side]) for side in (one, other)
    )
    difference = float((first - second).norm() / first.norm())
    if not difference <= limit:
        raise DisagreementError(f"{what} differs by {difference:.2g} of its size; the limit is {limit:g}")
    return difference


def one_thread() -> None:
    """Keep torch to one thread: a study trains one trial per core."""
    torch.set_num_threads(1)


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU seconds, of all threads of this process together, that a call takes."""
    start = time.process_time()
    call()
    return time.process_time() - start


def interleaved(
    sides: Mapping[str, Callable[[], object]], rounds: int, *, warm: bool = False
) -> dict[str, list[float]]:
    """CPU seconds of each side in each round: A B A B, so that a drift of the machine meets all alike.

    Each side runs once before, untimed, unless they are warm already.

    Raises:
        ValueError: rounds is below 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1 but is {rounds}")
    if not warm:
        for call in sides.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            seconds[name].append(cpu_seconds(call))
    return seconds


def median(seconds: Sequence[float]) -> float:
    """The middle one, or the mean of the two middle ones."""
    return statistics.median(seconds)


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each side."""
    return {name: median(values) for name, values in seconds.items()}


def show(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows as a table whose columns are the rows' keys, in the order in which they first occur."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_cell(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    numeric = [any(isinstance(row.get(name), int | float) for row in rows) for name in names]
    print(f"\n{title}")
    for line in cells:
        aligned = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        )
        print("  ".join(aligned).rstrip(), flush=True)


def _cell(value: object) -> str:
    """Floats with three digits, never with an exponent."""
    if not isinstance(value, float):
        return str(value)
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    places = 0
    while abs(value) * 10**places < 100 and places < 6:
        places += 1
    return f"{value:.{places}f}"


def write(path: Path, results: Mapping[str, object]) -> None:
    """Write results as JSON, with what they were measured on under `machine`; temporary file, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps({**results, "machine": machine()}, indent=1) + "\n")
    temporary.replace(path)


def machine() -> dict[str, object]:
    """Processor, cores this process may use, torch's version and the instructions that it uses."""
    description: dict[str, object] = {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bf16_hardware": bf16_hardware(),
    }
    if torch.cuda.is_available():
        description["gpu"] = torch.cuda.get_device_name()
    return description


def bf16_hardware() -> bool:
    """Whether this processor multiplies bfloat16 itself (AVX512-BF16 or AMX); else it is emulated."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
