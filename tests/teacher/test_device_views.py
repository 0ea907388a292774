"""Views of a bank on a device, which the CPU stands in for."""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from small_banks import SmallBank
from torch import Tensor

from lpstudy.data.augment import view_of
from lpstudy.space import RunSpec
from lpstudy.teacher import Bank, open_teacher_outputs
from lpstudy.teacher.device_views import DeviceViews, room_on
from lpstudy.training import train

CPU = torch.device("cpu")
VIEWS, SAMPLES = 6, 20
BYTES = VIEWS * SAMPLES * (10 + 4) * 2


@pytest.fixture
def banked_outputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"logits": (VIEWS, SAMPLES, 10), "embedding": (VIEWS, SAMPLES, 4)}
    return {name: torch.randn(shape, generator=generator).half() for name, shape in shapes.items()}


@pytest.mark.parametrize("room", [BYTES, BYTES - 1])
def test_a_view_is_the_bank_s_in_whatever_order(room: int, banked_outputs: dict[str, Tensor]) -> None:
    views = DeviceViews(banked_outputs, CPU, room)
    for number in (0, 3, 1, 1, 5, 0, 3):
        for name, outputs in banked_outputs.items():
            assert torch.equal(views.view(name, number), outputs[number])
        views.fetch((number + 2) % VIEWS)


def test_a_bank_that_takes_little_is_copied_once(banked_outputs: dict[str, Tensor]) -> None:
    views = DeviceViews(banked_outputs, CPU, BYTES)
    first = [views.view("logits", number) for number in range(VIEWS)]
    assert all(views.view("logits", number) is first[number] for number in range(VIEWS))


def test_of_a_larger_one_a_single_view_is_held(banked_outputs: dict[str, Tensor]) -> None:
    views = DeviceViews(banked_outputs, CPU, BYTES - 1)
    reference = weakref.ref(views.view("logits", 0))
    assert reference() is views.view("logits", 0)
    views.view("embedding", 0)
    assert reference() is not None
    views.view("logits", 1)
    assert reference() is None


@pytest.mark.parametrize("room", [BYTES, BYTES - 1])
def test_what_was_fetched_is_not_read_again(room: int, banked_outputs: dict[str, Tensor]) -> None:
    views = DeviceViews(banked_outputs, CPU, room)
    views.view("logits", 0)
    expected = banked_outputs["logits"][4].clone()
    views.fetch(4)
    views._reader.submit(lambda: None).result()  # one thread: earlier reads have ended
    banked_outputs["logits"][4] = 0
    assert torch.equal(views.view("logits", 4), expected)
    assert torch.equal(
        views.view("embedding", 4), banked_outputs["embedding"][4]
    )  # which nobody had read yet
    views.fetch(5)
    views.fetch(2)
    assert {number for number, _ in views._fetches} == {2}


def test_threads_that_read_other_views_read_their_own(banked_outputs: dict[str, Tensor]) -> None:
    views = DeviceViews(banked_outputs, CPU, 0)
    together = threading.Barrier(VIEWS)

    def reads_its_own(number: int) -> bool:
        together.wait()
        right = True
        for _ in range(200):
            right &= torch.equal(views.view("logits", number), banked_outputs["logits"][number])
        return right

    with ThreadPoolExecutor(VIEWS) as threads:
        assert all(threads.map(reads_its_own, range(VIEWS)))


@pytest.mark.parametrize(
    ("free", "fraction", "room"),
    [(80, 1.0, 8), (20, 1.0, 2), (80, 0.25, 2)],
    ids=["alone", "beside others", "packed"],
)
def test_a_bank_may_take_a_tenth_of_what_the_process_may(
    free: int, fraction: float, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free * 10**9, 80 * 10**9))
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: fraction)
    assert room_on(torch.device("cuda", 0)) == pytest.approx(room * 10**9)


@pytest.mark.parametrize("room", [10**9, 0])
def test_a_trial_learns_the_same_from_them_and_has_the_next_view_fetched(
    room: int, make_bank: Callable[..., SmallBank]
) -> None:
    bank = make_bank({"kd": {}, "lp": {}}, views=3)
    bank.fill()
    training = {"batch_size": 10, "precision": "fp32"}
    student = {"family": "convnet", "depth": 2, "width": 4}
    trial = RunSpec.model_validate(
        {"student": student, "method": {"method": "kd"}, "training": training, "epochs": 5, "seed": 2}
    )
    data = bank.data.with_views(bank.plan.views)
    losses = []
    fetched: list[int] = []

    class Noted(DeviceViews):
        def fetch(self, number: int) -> None:
            fetched.append(number)
            super().fetch(number)

    for on_device in (False, True):
        targets = open_teacher_outputs(bank.plan, bank.file, bank.spec.teacher, bank.data, device=CPU)
        assert isinstance(targets, Bank)
        if on_device:
            targets._device_views = Noted(targets._banked_outputs, CPU, room)
        results = train(trial, data, targets, device=CPU)
        losses.append([(r.metrics["train_loss"], r.metrics["validation_loss"]) for r in results])
    assert losses[0] == losses[1]
    assert fetched == [view_of(seed=2, epoch=epoch, count=3) for epoch in range(2, 6)]
