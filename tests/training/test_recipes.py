"""The published recipes: plain momentum, warm-ups, milestones, label smoothing, averages of weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from lpstudy.data import Data, Order
from lpstudy.methods import METHODS
from lpstudy.space import RunSpec, Training
from lpstudy.students import build
from lpstudy.teacher import OnlineTeacher
from lpstudy.training import train
from lpstudy.training.directive import Directive
from lpstudy.training.optimizers import rate_at
from lpstudy.training.trainer import Trainer

MakeTrial = Callable[..., RunSpec]
CPU = torch.device("cpu")


def test_equals_a_plain_loop_of_the_recipe(data: Data, make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial(
        epochs=3,
        seed=4,
        ce_weight=0.5,
        optimizer="sgd",
        nesterov=False,
        learning_rate=0.05,
        schedule="step",
        milestones=(1, 2),
        warmup_epochs=1,
        label_smoothing=0.1,
        ema=0.9,
    )
    results = list(train(trial, data, None, device=CPU, folder=tmp_path))
    network = build(trial.student, input_shape=data.input_shape, classes=data.classes, seed=4)
    plain = torch.optim.SGD(network.parameters(), lr=0, momentum=0.9)
    sums = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    rates = [0.05 * 0.01, 0.05 * 0.5, 0.005, 0.005, 0.0005, 0.0005]  # two steps in each epoch
    for epoch in (1, 2, 3):
        for step, batch in enumerate(data.train.epoch(Order(4, epoch, 50), device=CPU)):
            plain.param_groups[0]["lr"] = rates[2 * (epoch - 1) + step]
            plain.zero_grad()
            logits = network(batch.images).logits
            spread = functional.one_hot(batch.labels, 10) * 0.9 + 0.01
            (0.5 * -(spread * logits.log_softmax(1)).sum(1).mean()).backward()
            plain.step()
            for name, value in network.state_dict().items():
                sums[name] = 0.9 * sums[name] + 0.1 * value
    average = {name: value / (1 - 0.9**6) for name, value in sums.items()}
    stored = load_file(tmp_path / "weights.safetensors")
    for name, value in average.items():
        if value.is_floating_point() and "tracked" not in name:
            torch.testing.assert_close(stored[name], value, rtol=1e-4, atol=1e-6)
    network.load_state_dict({**network.state_dict(), **stored})
    (batch,) = data.validation.batches(batch_size=len(data.validation), device=CPU)
    with torch.no_grad():
        correct = network.eval()(batch.images).logits.argmax(1) == batch.labels
    accuracy = 100 * correct.double().mean().item()
    assert results[-1].metrics["validation_accuracy"] == pytest.approx(accuracy, abs=1e-9)


def test_a_resumed_average_equals_an_undisturbed_one_bit_for_bit(
    data: Data, teacher: OnlineTeacher, make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial("kd", epochs=2, ema=0.8, batch_size=20, checkpoint_seconds=1000.0)
    whole = list(train(trial, data, teacher, device=CPU, folder=tmp_path / "whole"))
    answers = iter([Directive.CONTINUE] * 7 + [Directive.PAUSE] * 99)
    list(train(trial, data, teacher, device=CPU, folder=tmp_path / "stopped", poll=lambda: next(answers)))
    resumed = list(train(trial, data, teacher, device=CPU, folder=tmp_path / "stopped"))
    assert [r.metrics["validation_loss"] for r in resumed] == [r.metrics["validation_loss"] for r in whole]
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_an_average_the_trained_weights_are_stored(
    data: Data, make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial(epochs=1)
    list(train(trial, data, None, device=CPU, folder=tmp_path))
    run = Trainer(trial, data, None, CPU)
    run.steps(1)
    stored = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(stored[name], value) for name, value in run.learner.student.state_dict().items())


def test_the_rate_rises_within_the_warm_up_and_follows_the_schedule_after_it() -> None:
    training = Training(learning_rate=0.1, warmup_epochs=2, schedule="cosine")
    rates = [rate_at(training, epochs, 10) for epochs in (0, 0.5, 1, 2, 5)]
    assert rates == pytest.approx([0.001, 0.1 * 0.9938442 * 0.25, 0.1 * 0.9755283 * 0.5, 0.09045085, 0.05])


def test_milestones_are_shares_or_epochs() -> None:
    shares = Training(learning_rate=1, schedule="step", milestones=(0.5, 0.75))
    epochs = Training(learning_rate=1, schedule="step", milestones=(30, 60, 80))
    assert [rate_at(shares, epoch, 8) for epoch in (0, 3.9, 4, 6)] == pytest.approx([1, 1, 0.1, 0.01])
    assert [rate_at(epochs, epoch, 90) for epoch in (29.9, 30, 60, 89)] == pytest.approx([1, 0.1, 0.01, 1e-3])


@pytest.mark.parametrize("method", [name for name, model in METHODS.items() if model.reads_teacher])
def test_the_factors_of_all_terms_rise_within_their_warm_up(method: str) -> None:
    plain = METHODS[method].model_validate({})
    warm = METHODS[method].model_validate({"term_warmup_epochs": 4})
    for epoch in (1, 2, 4, 7):
        expected = {name: min(epoch / 4, 1) * weight for name, weight in plain.weights_in(epoch, 8).items()}
        assert warm.weights_in(epoch, 8) == pytest.approx(expected)


def test_the_factor_of_ce_leaves_the_other_terms_alone(
    data: Data, teacher: OnlineTeacher, make_trial: MakeTrial
) -> None:
    terms = {}
    for weight in (1.0, 0.1):
        run = Trainer(make_trial("kd", ce_weight=weight, weight=9.0, temperature=4.0), data, teacher, CPU)
        terms[weight] = run.steps(1, 1)
    assert terms[0.1]["train_ce"] == terms[1.0]["train_ce"]
    for weight, values in terms.items():
        expected = weight * values["train_ce"] + 9 * values["train_kd"]
        assert values["train_loss"] == pytest.approx(expected, rel=1e-5)
