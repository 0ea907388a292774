"""What a run measures of itself: CPU time, wall time, memory, energy, and their sums over a resume."""

import mmap
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from lpstudy.data import Data
from lpstudy.space import RunSpec
from lpstudy.spending import PEAKS, SPENDING, STEP_SECONDS, SUMS, total
from lpstudy.training import Directive, energy, train
from lpstudy.training.meter import Meter, cpu_seconds

CPU = torch.device("cpu")
MakeTrial = Callable[..., RunSpec]
BUSY = """
import resource, sys, time
import torch
from lpstudy.training.meter import Meter
meter = Meter(torch.device("cpu"))
before = resource.getrusage(resource.RUSAGE_SELF)
end = time.process_time() + 0.4
while time.process_time() < end:
    sum(range(1000))
block = b"x" * (64 << 20)
resident = resource.getpagesize() * int(open("/proc/self/statm").read().split()[1])
time.sleep(0.2)
after = resource.getrusage(resource.RUSAGE_SELF)
spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
figures = meter.figures()
print(spent, figures["cpu_seconds"], figures["wall_seconds"], figures["peak_bytes"], resident)
"""


def test_cpu_wall_and_memory_are_those_of_the_operating_system() -> None:
    output = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, text=True, check=True).stdout
    spent, cpu, wall, peak, resident = map(float, output.split())
    assert cpu == pytest.approx(spent, abs=0.03)
    assert wall >= cpu + 0.19  # it has slept
    assert peak == pytest.approx(resident, rel=0.02)


def test_cpu_time_of_children_counts_while_they_live_and_once() -> None:
    before = cpu_seconds()
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        live = cpu_seconds() - before
        child.communicate(b"\n")
    ended = cpu_seconds() - before
    assert 0.28 < live <= ended + 0.02 < live + 0.2


def test_a_peak_is_that_of_the_meter_and_not_of_the_process() -> None:
    meter = Meter(CPU)
    with mmap.mmap(-1, 64 << 20) as block:  # which no allocator keeps
        block.write(b"1" * (64 << 20))
        high = meter.figures()["peak_bytes"]
    assert Meter(CPU).figures()["peak_bytes"] < high - (50 << 20)


def test_a_run_has_what_it_spends_in_every_epoch(data: Data, make_trial: MakeTrial) -> None:
    epochs = [result.metrics for result in train(make_trial("bp"), data, None, device=CPU)]
    for name in ("cpu_seconds", "wall_seconds"):
        assert 0 < epochs[0][name] < epochs[1][name] < epochs[2][name]
    last = epochs[-1]
    assert last["gpu_seconds"] == 0
    assert last["wall_seconds"] > last["seconds"] > last[STEP_SECONDS] * 6
    assert last["peak_bytes"] > 1 << 20
    assert not {"peak_gpu_bytes", "gpu_joules"} & last.keys()


def test_what_a_paused_run_spends_adds_up(data: Data, make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial("bp", epochs=4)
    answers = iter([Directive.CONTINUE] * 4)
    first = [
        *train(trial, data, None, device=CPU, folder=tmp_path, poll=lambda: next(answers, Directive.PAUSE))
    ]
    assert first[-1].epoch < 4
    paused = first[-1].metrics
    before = time.process_time(), time.monotonic()
    last = [*train(trial, data, None, device=CPU, folder=tmp_path)][-1].metrics
    cpu, wall = time.process_time() - before[0], time.monotonic() - before[1]
    assert paused["cpu_seconds"] < last["cpu_seconds"] <= paused["cpu_seconds"] + cpu
    assert paused["wall_seconds"] < last["wall_seconds"] <= paused["wall_seconds"] + wall
    assert last["peak_bytes"] >= paused["peak_bytes"]


def test_a_checkpoint_without_figures_leaves_them_out(
    data: Data, make_trial: MakeTrial, tmp_path: Path
) -> None:
    meter = Meter(CPU)
    meter.resume({"seconds": 9.0, "validation_accuracy": 50.0})
    assert meter.figures() == {}


def test_figures_of_a_resumed_run_are_sums_and_peaks() -> None:
    meter = Meter(CPU)
    meter.resume({"cpu_seconds": 1000.0, "gpu_seconds": 7.0, "wall_seconds": 2000.0, "peak_bytes": 1e15})
    figures = meter.figures()
    assert 1000 < figures["cpu_seconds"] < 1001
    assert 2000 < figures["wall_seconds"] < 2001
    assert (figures["gpu_seconds"], figures["peak_bytes"]) == (7.0, 1e15)


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    assert total([{"cpu_seconds": 1.0, "peak_bytes": 5.0}, {"cpu_seconds": 2.0}]) == {"cpu_seconds": 3.0}
    assert total([{"peak_bytes": 5.0}, {"peak_bytes": 4.0}]) == {"peak_bytes": 5.0}
    assert total([]) == {}
    assert {*SUMS, *PEAKS} == {*SPENDING}


def write_package(folder: Path, joules: float) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "name").write_text("package-0\n")
    (folder / "max_energy_range_uj").write_text("999999\n")  # 1 joule
    (folder / "energy_uj").write_text(f"{int(1e6 * joules) % 1_000_000}\n")


def test_energy_of_a_package_is_divided_by_cpu_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    monkeypatch.setattr(energy, "STAT", stat)
    package = tmp_path / "intel-rapl:0"
    write_package(package, 0.9)
    write_package(tmp_path / "intel-rapl:0:0", 0.5)  # a part of the package
    stat.write_text("cpu  100 0 100 900 50 0 0 0 0 0\n")
    counters = energy.EnergyCounters(None)
    write_package(package, 1.7)  # its counter has started anew
    stat.write_text("cpu  300 0 300 1900 50 0 0 0 0 0\n")  # 4 seconds of work
    assert counters.joules(1.0, gpus=0.0) == {"cpu_joules": pytest.approx(0.8 / 4)}
    write_package(package, 2.4)
    assert counters.joules(1.0, gpus=0.0) == {"cpu_joules": pytest.approx(1.5 / 4)}


def test_a_counter_that_goes_away_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    write_package(tmp_path / "intel-rapl:0", 0.5)
    counters = energy.EnergyCounters(None)
    (tmp_path / "intel-rapl:0/energy_uj").unlink()
    assert counters.joules(1.0, gpus=0.0) == {}


class FakeNvml(ModuleType):
    """A GPU that counts 500 J more at each reading, in millijoules."""

    NVMLError = RuntimeError
    readings = count(1_000_000, 500_000)

    def nvmlInit(self) -> None: ...  # noqa: N802  # NVML's name

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802  # NVML's name
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802  # NVML's name
        assert handle == "GPU-1234"
        return next(self.readings)


def test_energy_of_a_gpu_is_its_counters_times_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("pynvml"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    counters = energy.EnergyCounters(torch.device("cuda"))
    assert counters.joules(0.0, gpus=0.25)["gpu_joules"] == 125.0


def test_a_machine_without_counters_has_no_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "none")
    assert energy.EnergyCounters(None).joules(1.0, gpus=0.0) == {}
