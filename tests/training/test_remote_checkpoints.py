"""A run resumes from checkpoints in an object store as from those on a disk."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from lpstudy.data import Data
from lpstudy.disk import UnreachableError
from lpstudy.folder import LocalFolder, folder_at
from lpstudy.space import RunSpec
from lpstudy.training import train

MakeTrial = Callable[..., RunSpec]
CPU = torch.device("cpu")


def test_a_resumed_run_equals_one_on_a_disk(data: Data, make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial("bp", epochs=4)
    here, afar = LocalFolder(tmp_path / "here"), folder_at(f"local://{tmp_path}/afar")
    whole = list(train(trial, data, None, device=CPU, folder=here))
    running = train(trial, data, None, device=CPU, folder=afar)
    list(islice(running, 2))
    running.close()
    resumed = list(train(trial, data, None, device=CPU, folder=afar))
    assert [result.metrics["train_loss"] for result in resumed] == [
        result.metrics["train_loss"] for result in whole
    ]
    assert afar.names() == here.names()
    weights = load(here.read("weights.safetensors"))
    for name, tensor in load(afar.read("weights.safetensors")).items():
        assert torch.equal(tensor, weights[name]), name


def test_a_half_written_checkpoint_is_refused_and_the_one_before_is_used(
    data: Data, make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial, afar = make_trial("bp"), folder_at(f"local://{tmp_path}/afar")
    list(train(trial, data, None, device=CPU, folder=afar))
    afar.write("checkpoint-000003.safetensors", afar.read("checkpoint-000003.safetensors")[:-20])
    resumed = list(train(trial, data, None, device=CPU, folder=afar))
    assert [result.warnings for result in resumed if result.warnings] == [
        ("checkpoint-000003.json refused: its sha-256 differs",)
    ]
    assert resumed[2].warnings


def test_a_store_that_does_not_answer_is_not_taken_for_an_empty_one(
    data: Data, make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial, afar = make_trial("bp", epochs=4), folder_at(f"local://{tmp_path}/afar")
    running = train(trial, data, None, device=CPU, folder=afar)
    list(islice(running, 3))
    running.close()
    seldom = make_trial("bp", epochs=4, checkpoint_seconds=3600.0)  # so that the broken file is not written
    before = afar.read("checkpoint-000003.json")
    broken = tmp_path / "afar/checkpoint-000003.safetensors"
    broken.unlink()
    broken.mkdir()  # there, but to read it fails
    with pytest.raises(UnreachableError, match=r"afar/checkpoint-000003\.safetensors: "):
        list(train(seldom, data, None, device=CPU, folder=afar))
    assert afar.read("checkpoint-000003.json") == before
