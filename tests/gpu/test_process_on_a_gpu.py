"""A process's memory on a GPU, during a run and after it; needs a GPU."""

from collections.abc import Callable, Iterator

import pytest
import torch
from recorded_steps import Dropping

from lpstudy.data import Data
from lpstudy.methods import Needs, StepContext
from lpstudy.methods.bp import BP
from lpstudy.outputs import Batch
from lpstudy.space import RunSpec
from lpstudy.teacher import Bank, OnlineTeacher
from lpstudy.teacher.device_views import DeviceViews
from lpstudy.training import train
from lpstudy.training.cuda_graph import RecordedStep
from lpstudy.training.step import Learner

MakeTrial = Callable[..., RunSpec]


@pytest.fixture
def limited(device: torch.device) -> Iterator[torch.device]:
    torch.cuda.set_per_process_memory_fraction(0.25, device)
    yield device
    torch.cuda.set_per_process_memory_fraction(1.0, device)


def test_a_packed_process_has_its_share_of_the_memory(limited: torch.device) -> None:
    total = torch.cuda.get_device_properties(limited).total_memory
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(int(0.3 * total), dtype=torch.uint8, device=limited)


def test_the_fourth_run_of_a_process_holds_no_more_than_the_second(
    data: Data, teacher: OnlineTeacher, make_trial: MakeTrial, device: torch.device
) -> None:
    on_gpu = OnlineTeacher(teacher.network, 1, device=device)
    student = {"family": "convnet", "depth": 2, "width": 64}
    allocated = []
    for _ in range(4):
        trial = make_trial("kd", epochs=2, student=student)
        assert len(list(train(trial, data.to(device), on_gpu, device=device))) == 2
        allocated.append(torch.cuda.memory_allocated(device))
    assert allocated[3] == allocated[1]


def test_a_run_measures_its_share_of_the_gpu_and_its_memory(
    data: Data, make_trial: MakeTrial, device: torch.device
) -> None:
    block = torch.ones(1 << 26, dtype=torch.uint8, device=device)  # of another run of the process
    del block
    trial = make_trial("bp", epochs=2, student={"family": "convnet", "depth": 2, "width": 64})
    first, last = (one.metrics for one in train(trial, data.to(device), None, device=device, gpus=0.5))
    for metrics in (first, last):
        assert metrics["gpu_seconds"] == pytest.approx(0.5 * metrics["wall_seconds"])
    assert first["gpu_seconds"] < last["gpu_seconds"]
    assert 0 < last["peak_gpu_bytes"] < torch.cuda.get_device_properties(device).total_memory
    assert last.get("gpu_joules", 1.0) > 0  # where NVML counts it


def test_recorded_steps_drop_what_plain_ones_drop(device: torch.device) -> None:
    images = torch.randn(8, 3, 2, 2, generator=torch.Generator().manual_seed(1)).to(device)
    batch = Batch(images, torch.arange(8, device=device), torch.arange(8, device=device), 0)
    losses = []
    for recorded in (False, True):
        torch.manual_seed(0)
        network = Dropping().to(device)
        rate = torch.tensor(0.1, device=device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate, fused=True, capturable=True)
        learner = Learner(network, None, BP(), (), optimizer, device, torch.contiguous_format, False)
        step = RecordedStep(learner) if recorded else learner.step
        torch.manual_seed(5)
        losses.append(
            [float(step(batch, None, StepContext({}, lambda rows: rows, 10))[0]["loss"]) for _ in range(6)]
        )
        assert getattr(step, "refused", None) is None
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("room", [10**9, 0], ids=["whole", "one by one"])
def test_a_bank_gives_its_rows_on_the_gpu(room: int, device: torch.device) -> None:
    banked_outputs = {
        name: torch.randn(5, 40, width).half() for name, width in (("logits", 10), ("embedding", 16))
    }
    bank = Bank(banked_outputs, Dropping(), 1, None, device)
    bank._device_views = DeviceViews(banked_outputs, device, room)
    for view in (0, 3, 4, 1, 1, 2, 0):
        samples = torch.randperm(40)[:8]
        images = torch.zeros(8, 3, 2, 2, device=device)
        batch = Batch(images, samples.to(device), samples.to(device), view)
        actual = bank.outputs(batch, Needs(logits=True, embedding=True))
        bank.fetch((view + 1) % 5)
        assert torch.equal(actual.logits.cpu(), banked_outputs["logits"][view][samples].float())
        assert torch.equal(actual.embedding.cpu(), banked_outputs["embedding"][view][samples].float())
