"""Latency of a forward pass: median and 95th percentile of runs that take turns with other models'."""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import nn

from lpstudy.deployment.onnx_file import INPUT, logits_of, open_session
from lpstudy.latency_row import LatencyRow
from lpstudy.space import LatencyTarget

TARGETS: tuple[LatencyTarget, ...] = get_args(LatencyTarget)
"""One thread; as many threads as this process has cores; the first GPU."""
BATCHES = (1, 64)
"""Images of a forward pass."""
LEAST_RUNS = 30
"""The least runs of a row."""
SECONDS = 0.5
"""The least seconds of a row's runs."""
MOST_SECONDS = 20.0
"""The most seconds of a row: a slow network is run less often, though not less than `FEWEST_RUNS`."""
FEWEST_RUNS = 5
TURNS = 5
"""Turns in which all rows are measured, so that what else the machine does meets all of them."""
WARM_UP_RUNS = 2
"""Runs at the begin of a row's turn that are not counted."""
CUDA_PROVIDER = "CUDAExecutionProvider"


@dataclass(frozen=True, slots=True)
class Machine:
    """What has computed."""

    cpu: str
    cores: int
    """Cores that this process may use."""
    gpu: str | None
    """The first GPU; None where torch sees none."""
    system: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """Latencies of models on one machine."""

    machine: Machine
    rows: tuple[LatencyRow, ...]
    skipped: tuple[str, ...] = ()
    """What was not measured, and why; one line each."""

    def to_json(self) -> dict[str, Any]:
        """The table as a JSON object."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows], "skipped": [*self.skipped]}


def measure_latency(
    models: Mapping[str, nn.Module | Path],
    input_shape: tuple[int, int, int],
    *,
    targets: Sequence[LatencyTarget] = TARGETS,
    batches: Sequence[int] = BATCHES,
    seconds: float | None = None,
) -> LatencyTable:
    """Measure how long a forward pass takes.

    Every row has at least `LEAST_RUNS` runs and `seconds`, after a warm-up, in turns with the other rows. On
    a GPU the clock stops once the GPU has computed; images and logits stay there with torch, and travel with
    onnxruntime.

    Args:
        models: By name, modules (torch) and ONNX files (onnxruntime). A module is measured in evaluation
            mode; afterwards it is on its own device and in its own mode again.
        input_shape: (channels, height, width) of an image.
        targets: Where; what this machine lacks is skipped, and said in the table.
        batches: Images of a forward pass.
        seconds: The least seconds of a row's runs; None: `SECONDS`.

    Raises:
        ValueError: A target is unknown, or onnxruntime is needed and not installed.
    """
    unknown = [target for target in targets if target not in TARGETS]
    if unknown:
        raise ValueError(f"latency target must be one of {', '.join(TARGETS)} but got {unknown[0]!r}")
    images = {batch: np.random.default_rng(0).random((batch, *input_shape), np.float32) for batch in batches}
    rows: list[_Row] = []
    skipped: dict[str, None] = {}
    for target in targets:
        for name, model in models.items():
            reason = _missing(target, model)
            if reason is not None:
                skipped[f"{target}: {reason}"] = None
                continue
            rows += [_Row(name, model, target, images[batch]) for batch in batches]
    with _restored(models):
        for _ in range(TURNS):
            for row in rows:
                row.take_turn((SECONDS if seconds is None else seconds) / TURNS)
    return LatencyTable(machine(), tuple(row.latency() for row in rows), tuple(skipped))


def machine() -> Machine:
    """This machine in words, without its name."""
    packages = {"torch": str(torch.__version__)}
    with suppress(ModuleNotFoundError):  # an extra; without it only modules are measured
        packages["onnxruntime"] = version("onnxruntime")
    return Machine(
        cpu=_cpu_model(),
        cores=own_cores(),
        gpu=torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        system=f"{platform.system()} {platform.machine()}",
        versions={"python": platform.python_version(), **packages},
    )


def own_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class _Row:
    """A model on a target with a batch, and the times of its runs."""

    def __init__(self, name: str, model: nn.Module | Path, target: LatencyTarget, images: Any) -> None:
        self._name, self._model, self._target, self._images = name, model, target, images
        self._threads = own_cores() if target == "cpu-n" else 1
        self._times: list[float] = []
        self._session: Any = None

    def take_turn(self, seconds: float) -> None:
        """Run a share of the runs, `seconds` at least."""
        model = self._model
        run = self._torch_run(model) if isinstance(model, nn.Module) else self._onnx_run(model)
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            for _ in range(WARM_UP_RUNS):
                run()
            begin, runs = time.perf_counter(), 0
            while True:
                start = time.perf_counter()
                run()
                end = time.perf_counter()
                self._times.append(end - start)
                runs += 1
                is_long = end - begin >= MOST_SECONDS / TURNS and runs * TURNS >= FEWEST_RUNS
                if is_long or (end - begin >= seconds and runs * TURNS >= LEAST_RUNS):
                    break
        finally:
            torch.set_num_threads(before)

    def latency(self) -> LatencyRow:
        """The row's figures."""
        milliseconds = 1e3 * np.asarray(self._times)
        return LatencyRow(
            model=self._name,
            runtime="torch" if isinstance(self._model, nn.Module) else "onnxruntime",
            target=self._target,
            batch=len(self._images),
            threads=self._threads,
            median_ms=round(float(np.median(milliseconds)), 4),
            p95_ms=round(float(np.percentile(milliseconds, 95)), 4),
            runs=len(milliseconds),
        )

    def _torch_run(self, model: nn.Module) -> Callable[[], object]:
        device = torch.device("cuda" if self._target == "cuda" else "cpu")
        module = logits_of(model).eval().to(device)
        images = torch.from_numpy(self._images).to(device)

        def run() -> None:
            with torch.inference_mode():
                module(images)
            if device.type == "cuda":
                torch.cuda.synchronize()

        return run

    def _onnx_run(self, path: Path) -> Callable[[], object]:
        if self._session is None:
            on_gpu = self._target == "cuda"
            provider = CUDA_PROVIDER if on_gpu else "CPUExecutionProvider"
            threads = None if on_gpu else self._threads
            self._session = open_session(path, threads=threads, provider=provider)
        feed = {INPUT: self._images}
        return lambda: self._session.run(None, feed)


def _missing(target: LatencyTarget, model: nn.Module | Path) -> str | None:
    """Why a model cannot be measured on a target; None where it can."""
    if target != "cuda":
        return None
    if not torch.cuda.is_available():
        return "torch sees no GPU"
    if isinstance(model, nn.Module):
        return None
    import onnxruntime

    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        return "this onnxruntime has no CUDA provider (package onnxruntime-gpu)"
    return None


@contextmanager
def _restored(models: Mapping[str, nn.Module | Path]) -> Iterator[None]:
    """A context after which modules are on their own device and in their own mode again."""
    modules = [model for model in models.values() if isinstance(model, nn.Module)]
    modes = {one: one.training for module in modules for one in module.modules()}
    devices = [next((one.device for one in module.parameters()), None) for module in modules]
    try:
        yield
    finally:
        for one, training in modes.items():
            one.training = training
        for module, device in zip(modules, devices, strict=True):
            if device is not None:
                module.to(device)


def _cpu_model() -> str:
    """The CPU's model, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
