"""Runs on mixed images: teacher and student see the same ones, and both labels count by their shares."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded_steps import EPOCHS, state, steps
from safetensors.torch import load_file
from tape import Tape, on_the_cpu

from lpstudy.data import Data, DataSpec, Order, load
from lpstudy.methods import StepContext, cross_entropy
from lpstudy.methods.soft_targets import kd_loss
from lpstudy.outputs import NO_LABEL, Outputs, Partners
from lpstudy.space import RunSpec
from lpstudy.spending import MEASURED
from lpstudy.students import build
from lpstudy.teacher import OnlineTeacher
from lpstudy.training import Directive, partial_epoch, train
from lpstudy.training.cuda_graph import RecordedStep
from lpstudy.training.trainer import Trainer

MakeTrial = Callable[..., RunSpec]
CPU = torch.device("cpu")
KINDS: dict[str, dict[str, object]] = {
    "mixup": {"mixup": 0.7},
    "cutmix": {"cutmix": 1.0},
    "both": {"mixup": 1.0, "cutmix": 1.0, "crop": "resized", "augment": "trivialaugment", "erase": 0.3},
}


def digits(**keys: object) -> Data:
    return load(DataSpec.model_validate({"kind": "digits", "labels_per_class": 10} | keys))


def test_ce_is_that_of_both_labels_by_their_shares_where_they_are_known() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = [0, 3, NO_LABEL, 1, 2], [NO_LABEL, 0, 1, NO_LABEL, 2]
    share, smoothing, weight = 0.75, 0.1, 0.5

    def ce(labels: list[int]) -> float:
        rows = []
        for row, label in zip(logits.numpy(), labels, strict=True):
            if label != NO_LABEL:
                log = row - np.log(np.exp(row).sum())
                target = np.full(4, smoothing / 4)
                target[label] += 1 - smoothing
                rows.append(-(target * log).sum())
        return float(np.mean(rows))

    context = StepContext({}, lambda rows: rows, 4, weight, smoothing)
    step = context.step(Outputs(logits, logits), None, torch.tensor(first), torch.arange(5))
    loss = cross_entropy(replace(step, partners=Partners(torch.tensor(second), torch.tensor(share))))
    expected = share * ce(first) + (1 - share) * ce(second)
    assert float(loss.parts["ce"]) == pytest.approx(expected, rel=1e-12)
    assert float(loss.total) == pytest.approx(weight * expected, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_teacher_and_student_see_the_same_mixed_images(
    kind: str, teacher: OnlineTeacher, make_trial: MakeTrial
) -> None:
    data = digits(**KINDS[kind])
    run = Trainer(make_trial("kd", weight=2.0, temperature=3.0), data, teacher, CPU)
    network = build(run.trial.student, input_shape=data.input_shape, classes=10, seed=0)
    batch = next(iter(data.train.epoch(Order(0, 1, 50), device=CPU)))
    assert batch.partners is not None
    with torch.no_grad():
        logits = network(batch.images).logits
        soft = kd_loss(logits, teacher.network(batch.images).logits, temperature=3.0)
        logarithms = logits.log_softmax(1)
    rows, share = torch.arange(50), float(batch.partners.own_share)
    ce = -share * logarithms[rows, batch.labels].mean()
    ce -= (1 - share) * logarithms[rows, batch.partners.labels].mean()
    metrics = run.steps(1, 1)
    assert metrics["train_ce"] == pytest.approx(float(ce), rel=1e-5)
    assert metrics["train_kd"] == pytest.approx(float(soft), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["fm", "crd"])
def test_a_resumed_run_equals_an_undisturbed_one(
    kind: str,
    method: str,
    teacher: OnlineTeacher,
    make_trial: MakeTrial,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partial_epoch, "POLL_SECONDS", 0.0)
    data = digits(**KINDS[kind])
    values = {"n_negatives": 20} if method == "crd" else {}
    trial = make_trial(method, epochs=2, batch_size=20, checkpoint_seconds=1000.0, **values)
    whole = list(train(trial, data, teacher, device=CPU, folder=tmp_path / "whole"))
    answers = iter([Directive.CONTINUE] * 9 + [Directive.PAUSE] * 9)
    folder = tmp_path / "stopped"
    assert len([*train(trial, data, teacher, device=CPU, folder=folder, poll=lambda: next(answers))]) == 1
    resumed = list(train(trial, data, teacher, device=CPU, folder=folder))
    for one, other in zip(resumed, whole, strict=True):
        unmeasured = dict.fromkeys(MEASURED, 0.0)
        assert one.metrics | unmeasured == other.metrics | unmeasured
    expected = load_file(tmp_path / "whole/weights.safetensors")
    actual = load_file(folder / "weights.safetensors")
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["bp", "fm", "crd"])
def test_recorded_steps_equal_plain_ones(
    kind: str,
    method: str,
    teacher: OnlineTeacher,
    make_trial: MakeTrial,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_the_cpu(monkeypatch)
    data = digits(**KINDS[kind])
    values = {"n_negatives": 20} if method == "crd" else {}
    runs = [Trainer(make_trial(method, epochs=EPOCHS, **values), data, teacher, CPU) for _ in range(2)]
    for run in runs:
        for group in run.learner.optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"])
    plain, recorded = runs
    graph = RecordedStep(recorded.learner)
    assert steps(recorded, graph) == steps(plain, plain.learner.step)
    assert (graph.refusal, Tape.recordings) == (None, 1)
    for name, tensor in state(plain).items():
        assert torch.equal(tensor, state(recorded)[name]), name


def test_a_student_learns_from_the_teacher_without_labels_in_each_epoch_of_new_images(
    make_trial: MakeTrial, tmp_path: Path
) -> None:
    data = digits(labels_per_class=40)
    taught = make_trial(
        "bp", epochs=10, learning_rate=0.02, student={"family": "convnet", "depth": 2, "width": 16}
    )
    accuracy = [*train(taught, data, None, device=CPU, folder=tmp_path)][-1].metrics["validation_accuracy"]
    network = build(taught.student, input_shape=data.input_shape, classes=10, seed=0)
    network.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    trial = make_trial(
        "fm", epochs=15, learning_rate=0.02, student={"family": "convnet", "depth": 2, "width": 12}
    )
    mixed = digits(labels_per_class=40, mixup=1.0)
    results = [*train(trial, mixed, OnlineTeacher(network, 1), device=CPU)]
    assert accuracy > 80
    assert results[-1].metrics["validation_accuracy"] > accuracy - 15
    views = {next(iter(islice(mixed.train.epoch(Order(0, e, 50), device=CPU), 1))).view for e in (1, 2)}
    assert views == {0}  # without pad and flip the views are one; the mixtures differ
