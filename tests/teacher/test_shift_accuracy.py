"""The teacher's accuracy on shifted images: measured once, and again only for other images."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lpstudy.data import Data, DataSpec, load
from lpstudy.data.pixels import ArrayPixels
from lpstudy.outputs import EpochResult
from lpstudy.space import TeacherSpec
from lpstudy.teacher import TrainedTeacher, load_or_train, measured, open_teacher, shift_accuracy

CPU = torch.device("cpu")
SPEC = TeacherSpec(family="convnet", depth=2, width=4, epochs=2, batch_size=50, precision="fp32")


@pytest.fixture(scope="module")
def data() -> Data:
    return load(DataSpec(kind="digits", labels_per_class=10)).with_shifts([("noise", 1), ("contrast", 5)])


@pytest.fixture(autouse=True)
def _own_teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Data) -> None:
    monkeypatch.setenv("LPSTUDY_CACHE", str(tmp_path / "cache"))


def teacher_on(data: Data) -> TrainedTeacher:
    *epochs, teacher = measured(load_or_train(SPEC, data, device=CPU), SPEC, data, device=CPU)
    assert isinstance(teacher, TrainedTeacher)
    assert all(isinstance(epoch, EpochResult) for epoch in epochs)
    return teacher


def test_it_is_that_of_its_network(data: Data) -> None:
    teacher = teacher_on(data)
    assert teacher.shifts is not None
    network = open_teacher(teacher, SPEC, data, device=CPU).network
    for name, split in data.shifts.items():
        (batch,) = split.batches(batch_size=len(split), device=CPU)
        with torch.no_grad():
            hits = network(batch.images).logits.argmax(1) == batch.labels
        assert teacher.shifts[name] == pytest.approx(100 * hits.double().mean().item(), abs=0.2)
    assert teacher.shifts["noise_1"] != teacher.shifts["contrast_5"]


def test_it_is_measured_once_and_again_for_other_images(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    first = teacher_on(data)
    with monkeypatch.context() as patch:
        patch.setattr(shift_accuracy, "evaluate", None)
        assert teacher_on(data) == first
    black = ArrayPixels(
        torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(len(data.test), dtype=torch.int64)
    )
    other = replace(data.shifts["noise_1"], pixels=black)
    changed = teacher_on(replace(data, shifts={**data.shifts, "noise_1": other}))
    assert first.shifts is not None
    assert changed.shifts is not None
    assert changed.shifts["noise_1"] != first.shifts["noise_1"]
    assert changed.shifts["contrast_5"] == first.shifts["contrast_5"]
    Path(first.folder, "shifts.json").write_text("{")
    assert teacher_on(data) == first


def test_without_shifts_nothing_is_measured(data: Data) -> None:
    teacher = teacher_on(replace(data, shifts={}))
    assert teacher.shifts is None
    assert not Path(teacher.folder, "shifts.json").exists()
