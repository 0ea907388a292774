"""The resources of trials on a GPU, as far as a machine without one can test them."""

import sys
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch

from lpstudy.command.provenance import machine
from lpstudy.ray_cluster import bank_tasks, cluster
from lpstudy.ray_cluster.restarting_task import task
from lpstudy.ray_cluster.teacher_task import _teach
from lpstudy.study import TrialResources
from lpstudy.study.run_epochs import CUDA_BYTES, device_of, memory_share

GB = 10**9


@pytest.mark.parametrize("function", [_teach, bank_tasks._fill, cluster._describe_gpu])
@pytest.mark.parametrize(("gpus", "calls"), [(0.25, 1), (1.0, 1), (0.0, 0)])
def test_the_process_of_a_task_on_a_gpu_ends_with_it(
    function: Callable[..., Any], gpus: float, calls: int
) -> None:
    declared = task(function, cpus=1, gpus=gpus)
    assert declared._max_calls == calls  # what Ray exports to the workers; 0 is no limit
    assert declared._num_gpus == gpus
    assert declared._max_retries == 0
    assert declared._function is function


def test_no_task_is_declared_apart() -> None:
    apart = {
        f"{module.__name__}.{name}"
        for module in (sys.modules[_teach.__module__], bank_tasks, cluster)
        for name, value in vars(module).items()
        if hasattr(value, "remote") and hasattr(value, "options")
    }
    assert apart == set()


@pytest.mark.parametrize(
    ("gpus", "total", "share"),
    [
        (0.25, 100 * GB, 0.25 - CUDA_BYTES / (100 * GB)),
        (0.5, 24 * GB, 0.5 - CUDA_BYTES / (24 * GB)),
        (0.05, 8 * GB, 0.025),
    ],
)
def test_a_share_of_a_gpu_has_its_share_of_the_memory(gpus: float, total: int, share: float) -> None:
    assert memory_share(gpus, total) == pytest.approx(share)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Simulate an 80 GB GPU; the memory limits that are set on it."""
    limits: list[float] = []

    class Card:
        total_memory: ClassVar[int] = 80 * GB

    def describe(device: object = None) -> str:
        raise AssertionError("CUDA was started")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Card)
    monkeypatch.setattr(torch.cuda, "get_device_name", describe)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda fraction, device: limits.append(fraction)
    )
    return limits


def test_packed_trials_are_limited_and_others_are_not(card: list[float]) -> None:
    threads = torch.get_num_threads()
    try:
        assert device_of(gpus=0.25) == torch.device("cuda", 0)
        assert device_of(gpus=1.0) == device_of(gpus=2.0) == torch.device("cuda", 0)
        assert device_of(gpus=0.0) == torch.device("cpu")
    finally:
        torch.set_num_threads(threads)
    assert card == [memory_share(0.25, 80 * GB)]


@pytest.mark.usefixtures("card")
def test_the_driver_tells_of_gpus_without_starting_cuda() -> None:
    assert ", 2 GPUs; Python" in machine("")
    assert ", 2 GPUs, trials on NVIDIA H200; Python" in machine("NVIDIA H200")
    assert cluster.gpu_name(TrialResources()) == ""
