"""A finished run releases its memory: the next run of the process needs it, on a GPU above all."""

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tape import on_the_cpu
from torch import Tensor

from lpstudy.data import Data
from lpstudy.methods import METHODS
from lpstudy.space import RunSpec
from lpstudy.teacher import OnlineTeacher
from lpstudy.training import DivergedError, train
from lpstudy.training.cuda_graph import RecordedStep
from lpstudy.training.trainer import Trainer

MakeTrial = Callable[..., RunSpec]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def weights_of(run: Trainer) -> "list[weakref.ref[Tensor]]":
    """The student's weights, the regressor's, and the optimiser's averages."""
    averages = (value for state in run.learner.optimizer.state.values() for value in state.values())
    return [weakref.ref(tensor) for tensor in (*run.learner.parameters, *averages)]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> "list[list[weakref.ref[Tensor]]]":
    """References to the tensors of the runs of `train`."""
    references: list[list[weakref.ref[Tensor]]] = []

    class Noted(Trainer):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            references.append(weights_of(self))

    monkeypatch.setattr("lpstudy.training.loop.Trainer", Noted)
    return references


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_nobody_holds_is_gone(
    method: str, data: Data, teacher: OnlineTeacher, make_trial: MakeTrial
) -> None:
    run = Trainer(make_trial(method), data, teacher, CPU)
    run.epoch(1, (), read_test=False)
    weights = weights_of(run)
    assert len(weights) > 4
    del run
    assert not [one for one in weights if one() is not None]


def test_so_is_one_whose_step_was_recorded(
    data: Data, teacher: OnlineTeacher, make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_cpu(monkeypatch)
    run = Trainer(make_trial("lp_kd", schedule="constant"), data, teacher, CPU)
    run.step = graph = RecordedStep(run.learner)
    run.epoch(1, (), read_test=False)
    assert graph.refusal is None
    tape, weights = weakref.ref(graph._graph), weights_of(run)
    del run, graph
    assert tape() is None
    assert not [one for one in weights if one() is not None]


@pytest.mark.parametrize("method", METHODS)
def test_training_to_the_end_leaves_nothing(
    method: str,
    data: Data,
    teacher: OnlineTeacher,
    make_trial: MakeTrial,
    tmp_path: Path,
    runs: "list[list[weakref.ref[Tensor]]]",
) -> None:
    for _ in train(make_trial(method), data, teacher, device=CPU, folder=tmp_path, read_test=True):
        pass
    assert runs[0]
    assert not [one for one in runs[0] if one() is not None]


def test_nor_does_training_that_is_abandoned(
    data: Data, make_trial: MakeTrial, tmp_path: Path, runs: "list[list[weakref.ref[Tensor]]]"
) -> None:
    epochs = train(make_trial(), data, None, device=CPU, folder=tmp_path)
    next(epochs)
    epochs.close()
    del epochs
    assert not [one for one in runs[0] if one() is not None]


def test_nor_does_a_loss_that_is_not_finite(
    data: Data, make_trial: MakeTrial, runs: "list[list[weakref.ref[Tensor]]]"
) -> None:
    trial = make_trial(student={"family": "maxout", "depth": 3, "width": 4})
    wild = trial.training.model_copy(update={"learning_rate": 1e20})
    with pytest.raises(DivergedError) as raised:
        list(train(trial.model_copy(update={"training": wild}), data, None, device=CPU))
    del raised
    assert not [one for one in runs[0] if one() is not None]
