"""Two studies that need one bank at the same time: real processes on one Ray cluster."""

import hashlib
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import torch
from commands import descendants
from filelock import FileLock
from safetensors.torch import save_file

from lpstudy.data import Data, load
from lpstudy.folder import LocalFolder
from lpstudy.ray_cluster.cluster import cluster_resources
from lpstudy.ray_cluster.ray_backend import RayBackend
from lpstudy.ray_cluster.ray_patches import LOOPBACK_VARIABLE
from lpstudy.ray_cluster.session import ray_session
from lpstudy.space import StudySpec
from lpstudy.students import build
from lpstudy.study import StudyControl, StudyInputs, StudyPaths, TrialResources, fill_bank
from lpstudy.teacher import Store, TrainedTeacher, bank_store, load_or_train, plan_bank

CPU = torch.device("cpu")
VIEWS = 162
WAITING = "another study is filling it, waiting"


def spec_of(folder: Path, dtype: str) -> StudySpec:
    """A study of the digits in 162 views, which are 162 blocks."""
    return StudySpec.model_validate(
        {
            "name": "shared",
            "data": {"kind": "digits", "pad": 4, "flip": True},
            "teacher": {
                "family": "convnet",
                "depth": 2,
                "width": 2,
                "precision": "fp32",
                "views": VIEWS,
                "bank_dtype": dtype,
                "weights": str(folder / "teacher.safetensors"),
            },
            "students": [{"family": "convnet", "depth": 2, "width": 2}],
            "methods": {"kd": {}},
        }
    )


@dataclass
class Study:
    """A study that needs its bank."""

    spec: StudySpec
    data: Data
    file: TrainedTeacher
    store: Store

    def filling(self) -> Iterator[tuple[int, str]]:
        """The number of valid blocks, and the message."""
        plan, paths = self.store.plan, StudyPaths(LocalFolder(Path.cwd()), None)
        control = StudyControl(LocalFolder(self.store.folder.parent), "test")
        backend = RayBackend(TrialResources(), lambda error: 1)
        inputs = StudyInputs(self.spec, self.data, plan, paths)
        for progress in fill_bank(inputs, self.file, backend, control):
            yield progress.blocks_done, progress.note


def study_of(folder: Path, dtype: str) -> Study:
    spec = spec_of(folder, dtype)
    data = load(spec.data)
    weights = folder / "teacher.safetensors"
    if not weights.is_file():
        network = build(spec.teacher.network, input_shape=data.input_shape, classes=data.classes, seed=3)
        save_file(network.state_dict(), weights)
    (file,) = load_or_train(spec.teacher, data, device=CPU)
    assert isinstance(file, TrainedTeacher)
    return Study(spec, data, file, bank_store(plan_bank(spec, data), file, spec.teacher, data, CPU))


def another_study(folder: str, address: str, cache: str, line: Connection) -> None:
    """Fill a bank in another process, and send its progress."""
    os.environ |= {"RAY_ADDRESS": address, "LPSTUDY_CACHE": cache}
    with ray_session():
        line.send("ready")
        while dtype := line.recv():
            for progress in study_of(Path(folder), dtype).filling():
                line.send(progress)
            line.send("end")


Other = tuple[BaseProcess, Connection]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a cluster and a cache."""
    folder = tmp_path_factory.mktemp("filling")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LPSTUDY_CACHE", str(folder / "cache"))
        with ray_session():
            yield folder


@pytest.fixture(scope="module")
def others(folder: Path) -> Iterator[tuple[Other, Other]]:
    """Two processes on that cluster."""
    study_of(folder, "fp16")
    address = str(ray.get_runtime_context().gcs_address)
    context = multiprocessing.get_context("spawn")
    started = []
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv(LOOPBACK_VARIABLE, "0")  # read by Ray when it is imported
    for _ in range(2):
        here, there = context.Pipe()
        process = context.Process(
            target=another_study, args=(str(folder), address, str(folder / "cache"), there)
        )
        process.start()
        started.append((process, here))
    monkeypatch.undo()
    for _, line in started:
        assert received(line) == "ready"
    yield started[0], started[1]
    for process, _ in started:
        process.kill()
        process.join()


def received(line: Connection) -> object:
    assert line.poll(240)
    return line.recv()


def to_the_end(line: Connection) -> list[object]:
    return list(iter(lambda: received(line), "end"))


def stopped_in_the_middle(filling: Other, waiting: Other, dtype: str) -> None:
    """Two processes: one is suspended while it fills the bank and holds its lock, the other waits."""
    filling[1].send(dtype)
    for done in (1, 2, 3):
        assert received(filling[1]) == (done, "")
    os.kill(filling[0].pid or 0, signal.SIGSTOP)
    waiting[1].send(dtype)
    assert received(waiting[1]) == (0, WAITING)


def content(store: Store) -> dict[str, str]:
    """SHA-256 of the bank's files, without its lock and what it cost."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in store.folder.rglob("*")
        if path.is_file() and path.name not in ("lock", "spending.json")
    }


def test_one_fills_while_the_other_waits_and_then_finds_it(others: tuple[Other, Other], folder: Path) -> None:
    stopped_in_the_middle(*others, "fp16")
    (process, filling), (_, waiting) = others
    os.kill(process.pid or 0, signal.SIGCONT)
    assert to_the_end(filling) == [(done, "") for done in range(4, VIEWS + 1)]
    study = study_of(folder, "fp16")
    before = content(study.store)
    assert to_the_end(waiting) == []
    assert content(study.store) == before
    assert study.store.missing() == ([], [])
    (study.store.folder / "lock").unlink(missing_ok=True)
    assert list(study.filling()) == []
    assert not (study.store.folder / "lock").exists()  # what has it all may be a cache that only can be read


def test_a_block_that_differs_is_named_and_alone_is_filled_again(folder: Path) -> None:
    study = study_of(folder, "fp16")
    list(study.filling())
    before = content(study.store)
    path = study.store.folder / "logits.fp16"
    values = bytearray(path.read_bytes())
    values[-1] ^= 1
    path.write_bytes(values)
    (first, line), (second, nothing) = study.filling()
    assert (first, second, nothing) == (VIEWS - 1, VIEWS, "")
    assert line.startswith(f"{path}: view {VIEWS - 1}, samples 0 to ")
    assert content(study.store) == before


def test_a_filling_that_failed_lets_go_of_the_bank(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(folder, "fp32")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(ValueError, match=r"bytes more, but 10 are free: lower \[teacher\] views") as error:
        list(study.filling())
    with FileLock(study.store.folder / "lock", timeout=1):
        assert error.value is not None  # its traceback, which holds what the filling held, is alive


def test_the_rest_alone_is_filled_after_a_kill(others: tuple[Other, Other], folder: Path) -> None:
    study = study_of(folder, "fp32")
    stopped_in_the_middle(*others, "fp32")
    (process, _), (_, waiting) = others
    process.kill()
    process.join()
    progress = to_the_end(waiting)
    entered = VIEWS - len(progress)
    assert 3 <= entered < VIEWS
    assert progress == [(done, "") for done in range(entered + 1, VIEWS + 1)]
    assert study.store.missing() == ([], [])
    half = study_of(folder, "fp16").store.open_outputs()["logits"]
    torch.testing.assert_close(study.store.open_outputs()["logits"].half(), half, rtol=1e-3, atol=1e-6)


def test_as_many_processes_fill_as_there_are_cores(folder: Path) -> None:
    study = study_of(folder, "fp32")
    shutil.rmtree(study.store.folder, ignore_errors=True)
    cores, pids = int(cluster_resources()[0]), set()
    for _ in study.filling():
        if len(pids) < cores:
            pids |= {pid for pid, line in descendants(os.getpid()).items() if "ray::_fill" in line}
    assert len(pids) == cores
    assert study.store.missing() == ([], [])


@pytest.mark.soak
def test_workers_that_die_in_the_middle_are_replaced(folder: Path) -> None:
    study = study_of(folder, "fp16")
    list(study.filling())
    before = content(study.store)
    shutil.rmtree(study.store.folder)
    progress: list[tuple[int, str]] = []
    for one in study.filling():
        progress.append(one)
        if len(progress) == 3:
            workers = [pid for pid, line in descendants(os.getpid()).items() if "ray::_fill" in line]
            assert workers
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
    assert progress == [(done, "") for done in range(1, VIEWS + 1)]
    assert study.store.missing() == ([], [])
    assert content(study.store) == before
