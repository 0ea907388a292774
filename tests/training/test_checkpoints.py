"""A run that is killed resumes from its last valid checkpoint with the same results."""

import math
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lpstudy.data import Data
from lpstudy.folder import LocalFolder
from lpstudy.outputs import EpochResult
from lpstudy.space import RunSpec
from lpstudy.spending import MEASURED
from lpstudy.teacher import OnlineTeacher
from lpstudy.training import Directive, checkpoint, partial_epoch, train

MakeTrial = Callable[..., RunSpec]

CPU = torch.device("cpu")


def comparable(results: list[EpochResult]) -> list[dict[str, float]]:
    """All but the time."""
    return [{k: v for k, v in result.metrics.items() if k not in MEASURED} for result in results]


def killed_after(epochs: int, trial: RunSpec, data: Data, teacher: OnlineTeacher, folder: Path) -> None:
    running = train(trial, data, teacher, device=CPU, folder=folder)
    list(islice(running, epochs))
    running.close()


@pytest.mark.parametrize(
    ("method", "optimizer", "epochs"),
    [
        ("bp", "adam", 2),
        ("bp", "sgd", 2),
        ("bp", "rmsprop", 2),
        ("fitnet", "adam", 1),  # in the middle of the hint stage
        ("fitnet", "sgd", 3),  # after it
        ("fitnet", "rmsprop", 1),
        ("lp_kd", "adam", 2),
    ],
)
def test_a_resumed_run_equals_one_that_was_never_stopped_bit_for_bit(
    method: str,
    optimizer: str,
    epochs: int,
    data: Data,
    teacher: OnlineTeacher,
    make_trial: MakeTrial,
    tmp_path: Path,
) -> None:
    values = {"hint_fraction": 0.5} if method == "fitnet" else {}
    trial = make_trial(method, epochs=4, optimizer=optimizer, weight_decay=0.01, **values)
    whole = list(train(trial, data, teacher, device=CPU, folder=tmp_path / "whole"))
    killed_after(epochs, trial, data, teacher, tmp_path / "resumed")
    resumed = list(train(trial, data, teacher, device=CPU, folder=tmp_path / "resumed"))
    assert comparable(resumed) == comparable(whole)
    expected = load_file(tmp_path / "whole" / "weights.safetensors")
    for name, tensor in load_file(tmp_path / "resumed" / "weights.safetensors").items():
        assert torch.equal(tensor, expected[name]), name
    last = load_file(tmp_path / "whole" / "checkpoint-000004.safetensors")
    for name, tensor in load_file(tmp_path / "resumed" / "checkpoint-000004.safetensors").items():
        assert torch.equal(tensor, last[name]), name
    assert any(name.startswith("auxiliary.") for name in last) == (method == "fitnet")


def test_epochs_are_reported_again_with_the_same_numbers_and_times(
    data: Data, make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial("bp")
    first = list(train(trial, data, None, device=CPU, folder=tmp_path))
    again = list(train(trial, data, None, device=CPU, folder=tmp_path))
    assert again == first
    seconds = [result.metrics["seconds"] for result in again]
    assert seconds == sorted(seconds)


def test_the_last_two_checkpoints_remain(data: Data, make_trial: MakeTrial, tmp_path: Path) -> None:
    list(train(make_trial("bp", epochs=5), data, None, device=CPU, folder=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-000004.json",
        "checkpoint-000004.safetensors",
        "checkpoint-000005.json",
        "checkpoint-000005.safetensors",
        "model.json",
        "weights.safetensors",
    ]


def test_half_written_files_of_a_killed_process_are_removed_by_the_next_checkpoint(
    data: Data, make_trial: MakeTrial, tmp_path: Path
) -> None:
    leftovers = ["checkpoint-000009.safetensors", ".checkpoint-000009.safetensors.a1b2"]
    for name in leftovers:  # before its JSON file was there, and before it had its name
        (tmp_path / name).write_bytes(b"tensors")
    list(train(make_trial("bp"), data, None, device=CPU, folder=tmp_path))
    assert not any((tmp_path / name).exists() for name in leftovers)
    assert len(list(tmp_path.glob("checkpoint-*"))) == 4


def test_no_file_of_a_checkpoint_outlives_its_run(tmp_path: Path) -> None:
    names = ["checkpoint-000008.json", "checkpoint-000008.safetensors", "checkpoint-000009.safetensors"]
    for name in [*names, "weights.safetensors"]:
        (tmp_path / name).write_bytes(b"tensors")
    checkpoint.drop(LocalFolder(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_within_the_interval_only_the_last_epoch_is_written(
    data: Data, make_trial: MakeTrial, tmp_path: Path
) -> None:
    list(train(make_trial("bp", checkpoint_seconds=3600.0), data, None, device=CPU, folder=tmp_path))
    assert [path.name for path in sorted(tmp_path.glob("checkpoint-*.json"))] == ["checkpoint-000003.json"]


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _other_accuracy(path: Path) -> None:
    text = path.read_text()
    at = text.index('"validation_accuracy": ') + len('"validation_accuracy": ')
    path.write_text(text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :])


@pytest.mark.parametrize(
    ("suffix", "harm"),
    [
        ("safetensors", _flip_a_bit),
        ("safetensors", _truncate),
        ("safetensors", Path.unlink),
        ("json", _truncate),
        ("json", _other_accuracy),
    ],
)
def test_a_harmed_checkpoint_is_refused_with_a_warning_and_the_one_before_is_used(
    suffix: str, harm: Callable[[Path], None], data: Data, make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial("bp", epochs=4)
    whole = list(train(trial, data, None, device=CPU))
    killed_after(3, trial, data, None, tmp_path)
    modified = (tmp_path / "checkpoint-000002.json").stat().st_mtime_ns
    harm(tmp_path / f"checkpoint-000003.{suffix}")
    resumed = list(train(trial, data, None, device=CPU, folder=tmp_path))
    assert modified
    assert comparable(resumed) == comparable(whole)
    assert [result.epoch for result in resumed if result.warnings] == [3]
    (warning,) = resumed[2].warnings
    assert warning.startswith("checkpoint-000003.json refused: ")
    assert warning.isprintable()


def test_with_no_valid_checkpoint_the_run_begins_anew(
    data: Data, make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial("bp")
    whole = list(train(trial, data, None, device=CPU, folder=tmp_path))
    for path in tmp_path.glob("checkpoint-*.safetensors"):
        _flip_a_bit(path)
    again = list(train(trial, data, None, device=CPU, folder=tmp_path))
    assert comparable(again) == comparable(whole)
    assert [len(result.warnings) for result in again] == [2, 0, 0]


@pytest.mark.parametrize("other", [{"seed": 1}, {"learning_rate": 0.001}])
def test_no_run_resumes_from_the_checkpoint_of_another(
    other: dict[str, float], data: Data, make_trial: MakeTrial, tmp_path: Path
) -> None:
    list(train(make_trial("bp"), data, None, device=CPU, folder=tmp_path))
    trial = make_trial("bp", **other)
    results = list(train(trial, data, None, device=CPU, folder=tmp_path))
    assert comparable(results) == comparable(list(train(trial, data, None, device=CPU)))
    assert all("another run made it" in warning for warning in results[0].warnings)
    assert results[0].warnings


def test_a_run_that_is_to_leave_in_the_middle_of_an_epoch_writes_nothing_more(
    data: Data,
    teacher: OnlineTeacher,
    make_trial: MakeTrial,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partial_epoch, "POLL_SECONDS", math.inf)
    directives = iter(
        [Directive.CONTINUE, Directive.CONTINUE, Directive.CONTINUE, Directive.ABANDON, Directive.ABANDON]
    )
    running = train(
        make_trial(),
        data,
        teacher,
        device=CPU,
        folder=tmp_path,
        poll=lambda: next(directives, Directive.ABANDON),
    )
    assert [result.epoch for result in running] == [1, 2]
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["checkpoint-000001.json"]


def test_a_run_that_is_to_leave_in_its_last_epoch_writes_no_weights(
    data: Data, teacher: OnlineTeacher, make_trial: MakeTrial, tmp_path: Path
) -> None:
    directives = iter([Directive.CONTINUE])
    trial = make_trial(epochs=1)
    list(
        train(
            trial,
            data,
            teacher,
            device=CPU,
            folder=tmp_path,
            poll=lambda: next(directives, Directive.ABANDON),
        )
    )
    assert list(tmp_path.iterdir()) == []


def test_the_newest_is_the_one_of_a_run_that_has_come_the_furthest(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    assert checkpoint.newest_name(folder) == ""
    in_order = [
        "checkpoint-000000_00000009.json",
        "checkpoint-000000_00000120.json",
        "checkpoint-000001.json",
        "checkpoint-000001_00000009.json",
        "checkpoint-000002.json",
    ]
    for name in in_order:
        (tmp_path / name).touch()
        (tmp_path / "checkpoint-000009.safetensors").touch()  # whose JSON was never written
        assert checkpoint.newest_name(folder) == name
