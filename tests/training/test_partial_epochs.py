"""A run that is stopped in the middle of an epoch resumes there with the same results."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lpstudy.data import Data
from lpstudy.outputs import EpochResult
from lpstudy.space import RunSpec
from lpstudy.spending import MEASURED
from lpstudy.teacher import OnlineTeacher
from lpstudy.training import Directive, DivergedError, partial_epoch, train

MakeTrial = Callable[..., RunSpec]
CPU = torch.device("cpu")
STEPS = 10
"""Of an epoch."""


@pytest.fixture(autouse=True)
def _look_after_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_epoch, "POLL_SECONDS", 0.0)


def comparable(results: list[EpochResult]) -> list[tuple[dict[str, float], tuple[str, ...]]]:
    """All but the time."""
    return [({k: v for k, v in r.metrics.items() if k not in MEASURED}, r.warnings) for r in results]


def after(looks: int, then: Directive | Exception) -> Callable[[], Directive]:
    """Asks for nothing so many times, then for that."""
    remaining = iter(range(looks))

    def poll() -> Directive:
        if next(remaining, None) is not None:
            return Directive.CONTINUE
        if isinstance(then, Exception):
            raise then
        return then

    return poll


class KilledError(Exception):
    """Stands for a kill: nothing is written after it."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("checkpoint-*.json"))


@pytest.mark.parametrize("looks", [4, 16, 25])
@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("bp", {"optimizer": "adam"}),
        ("bp", {"optimizer": "sgd", "student": {"family": "maxout", "depth": 3, "width": 4}}),  # has dropout
        ("fitnet", {"optimizer": "rmsprop", "hint_fraction": 0.5}),
        ("lp_kd", {"optimizer": "adam"}),
        ("crd", {"optimizer": "adam", "n_negatives": 20}),  # has memories, and draws negatives
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    method: str,
    values: dict[str, object],
    looks: int,
    data: Data,
    teacher: OnlineTeacher,
    make_trial: MakeTrial,
    tmp_path: Path,
) -> None:
    trial = make_trial(method, batch_size=len(data.train) // STEPS, checkpoint_seconds=1000.0, **values)
    whole = list(train(trial, data, teacher, device=CPU, folder=tmp_path / "whole"))
    folder = tmp_path / "stopped"
    poll = after(looks, Directive.PAUSE)
    before = list(train(trial, data, teacher, device=CPU, folder=folder, poll=poll))
    each = STEPS + 1  # before an epoch, after each of its steps but the last, after it
    assert len(before) == looks // each
    step = looks % each
    assert names(folder) == [f"checkpoint-{len(before):06d}_{step:08d}.json"]
    resumed = list(train(trial, data, teacher, device=CPU, folder=folder))
    assert comparable(resumed) == comparable(whole)
    expected = load_file(tmp_path / "whole/weights.safetensors")
    actual = load_file(folder / "weights.safetensors")
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


@pytest.fixture
def killed(data: Data, teacher: OnlineTeacher, make_trial: MakeTrial, tmp_path: Path) -> tuple[RunSpec, Path]:
    """A run with a checkpoint after each step, killed in its second epoch."""
    trial = make_trial("kd", batch_size=len(data.train) // STEPS, checkpoint_seconds=0.0)
    running = train(trial, data, teacher, device=CPU, folder=tmp_path, poll=after(17, KilledError()))
    with pytest.raises(KilledError):
        list(running)
    assert names(tmp_path) == ["checkpoint-000001_00000004.json", "checkpoint-000001_00000005.json"]
    return trial, tmp_path


def test_a_killed_run_repeats_what_came_after_its_last_checkpoint_alone(
    killed: tuple[RunSpec, Path], data: Data, teacher: OnlineTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, folder = killed
    expected = list(train(trial, data, teacher, device=CPU))
    calls = []

    def record_call(*arguments: object) -> object:
        calls.append(arguments)
        return teacher.outputs(*arguments)

    class Watching:
        network, macs, outputs = teacher.network, teacher.macs, staticmethod(record_call)
        stored_bytes = teacher.stored_bytes
        read_test_logits = staticmethod(teacher.read_test_logits)

    assert comparable(list(train(trial, data, Watching(), device=CPU, folder=folder))) == comparable(expected)
    assert len(calls) == 2 * STEPS - 5


def test_a_part_that_is_spoilt_gives_way_to_the_one_before(
    killed: tuple[RunSpec, Path], data: Data, teacher: OnlineTeacher
) -> None:
    trial, folder = killed
    newest = folder / "checkpoint-000001_00000005.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    resumed = list(train(trial, data, teacher, device=CPU, folder=folder))
    assert resumed[1].warnings == ("checkpoint-000001_00000005.json refused: its sha-256 differs",)
    expected = list(train(trial, data, teacher, device=CPU))
    assert [metrics for metrics, _ in comparable(resumed)] == [metrics for metrics, _ in comparable(expected)]


def test_the_time_of_a_part_counts(killed: tuple[RunSpec, Path], data: Data, teacher: OnlineTeacher) -> None:
    trial, folder = killed
    path = folder / "checkpoint-000001_00000005.json"
    before = json.loads(path.read_bytes())
    assert 0 < before["part"]["seconds"] < 60
    resumed = list(train(trial, data, teacher, device=CPU, folder=folder))
    spent = before["history"][0]["metrics"]["seconds"] + before["part"]["seconds"]
    assert resumed[1].metrics["seconds"] > spent
    for name in ("cpu_seconds", "wall_seconds"):
        epoch, part = before["history"][0]["metrics"][name], before["part"]["metrics"][name]
        assert 0 < epoch < part < resumed[1].metrics[name]


def test_a_loss_that_is_not_finite_is_not_saved(
    data: Data, teacher: OnlineTeacher, make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial("kd", batch_size=10, student={"family": "maxout", "depth": 3, "width": 4})
    wild = trial.training.model_copy(update={"learning_rate": 1e20})
    diverging = trial.model_copy(update={"training": wild})
    with pytest.raises(DivergedError):
        list(train(diverging, data, teacher, device=CPU, folder=tmp_path))
    for path in tmp_path.glob("checkpoint-*.safetensors"):
        for name, value in load_file(path).items():
            if name.startswith("sum."):
                assert value.isfinite().all()


def test_who_is_to_leave_leaves_nothing(
    data: Data, teacher: OnlineTeacher, make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial("kd", batch_size=10, checkpoint_seconds=1000.0)
    poll = after(5, Directive.ABANDON)
    assert list(train(trial, data, teacher, device=CPU, folder=tmp_path, poll=poll)) == []
    assert list(tmp_path.iterdir()) == []
