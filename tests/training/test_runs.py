"""One run on one worker: what it learns, reports and costs."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from lpstudy.correctness import unpack
from lpstudy.cost import cost_of
from lpstudy.data import Data, DataSpec, Order, load
from lpstudy.methods import METHODS, Needs, StepContext
from lpstudy.outputs import Batch, Classifier, EpochResult, Network, Outputs
from lpstudy.space import RunSpec
from lpstudy.spending import MEASURED
from lpstudy.students import StudentSpec, build
from lpstudy.teacher import OnlineTeacher
from lpstudy.training import DivergedError, RunSeconds, evaluate, time_run, train
from lpstudy.training.optimizers import rate_at
from lpstudy.training.trainer import Trainer

MakeTrial = Callable[..., RunSpec]
TEACHER = StudentSpec(family="convnet", depth=2, width=8)

CPU = torch.device("cpu")


def run(
    trial: RunSpec, data: Data, teacher: OnlineTeacher | None, folder: Path | None = None
) -> list[EpochResult]:
    return list(train(trial, data, teacher, device=CPU, folder=folder))


@pytest.mark.parametrize("method", METHODS)
def test_learns_digits(method: str, teacher: OnlineTeacher, make_trial: MakeTrial) -> None:
    # The teacher knows nothing: its part in the loss is small, so that the labels teach.
    values = {
        "kd": {"weight": 0.01},
        "dist": {"beta": 0.01, "gamma": 0.01},
        "wttm": {"weight": 0.01},
        "fm": {"ce_weight": 10.0},
        "fitnet": {"kd_weight": 0.01, "hint_fraction": 0.1},
        "lp_kd": {"kd_weight": 0.01},
        "simkd": {"weight": 0.01, "ce_weight": 1.0},
    }
    trial = make_trial(
        method,
        epochs=10,
        student={"family": "convnet", "depth": 2, "width": 16},
        learning_rate=0.02,
        **values.get(method, {}),
    )
    results = run(trial, load(DataSpec(kind="digits", labels_per_class=40)), teacher)
    assert [result.epoch for result in results] == list(range(1, 11))
    losses = [r.metrics["train_ce"] for r in results if "train_ce" in r.metrics]
    assert losses[-1] < 0.6 * losses[0]
    # The random classifier of this teacher, which simkd may not change, has small logits.
    loss, accuracy = (0.6, 70) if method == "simkd" else (0.5, 80)
    assert results[-1].metrics["validation_loss"] < loss * math.log(10)
    assert results[-1].metrics["validation_accuracy"] > accuracy


def test_the_weights_at_the_end_give_the_accuracy_of_the_last_epoch(
    data: Data, make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial()
    results = list(train(trial, data, None, device=CPU, folder=tmp_path, read_test=True))
    network = build(trial.student, input_shape=data.input_shape, classes=data.classes, seed=77)
    network.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    network.eval()
    again = list(train(trial, data, None, device=CPU, folder=tmp_path, read_test=True))
    for split, name in ((data.validation, "validation"), (data.test, "test")):
        (batch,) = split.batches(batch_size=len(split), device=CPU)
        with torch.no_grad():
            guessed = network(batch.images).logits.argmax(1)
        share = 100 * (guessed == batch.labels).double().mean().item()
        assert results[-1].metrics[f"{name}_accuracy"] == pytest.approx(share, abs=1e-9)
        if name == "test":
            assert np.array_equal(unpack(results[-1].test_correct), (guessed == batch.labels).numpy())
    assert again == results  # as the checkpoint has them
    assert not any(result.test_correct for result in results[:-1])
    assert all("test_accuracy" not in result.metrics for result in results[:-1])


def test_evaluation_leaves_the_network_as_it_was(data: Data, make_trial: MakeTrial) -> None:
    network = build(make_trial().student, input_shape=data.input_shape, classes=data.classes)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    evaluate(network, data.validation)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Watching:
    """Records the batches that the teacher gets."""

    def __init__(self, teacher: OnlineTeacher) -> None:
        self._teacher = teacher
        self.seen: list[tuple[list[int], int]] = []
        self.read_test_logits = None

    @property
    def network(self) -> Network:
        return self._teacher.network

    def macs(self, needs: Needs, epoch: int) -> int:
        return self._teacher.macs(needs, epoch)

    @property
    def classifier(self) -> Classifier | None:
        return self._teacher.classifier

    def stored_bytes(self, needs: Needs) -> int:
        return self._teacher.stored_bytes(needs)

    def outputs(self, batch: Batch, needs: Needs) -> Outputs:
        self.seen.append((batch.samples.tolist(), batch.view))
        return self._teacher.outputs(batch, needs)


def test_two_methods_see_the_same_batches_on_one_seed_and_others_on_another(
    data: Data, teacher: OnlineTeacher, make_trial: MakeTrial
) -> None:
    batches = []
    for method, seed in (("kd", 3), ("lp", 3), ("kd", 4)):
        watching = Watching(teacher)
        list(train(make_trial(method, epochs=2, seed=seed), data, watching, device=CPU))
        batches.append(watching.seen)
    assert len(batches[0]) == 4
    assert batches[0] == batches[1]
    assert batches[0] != batches[2]
    assert batches[0][:2] != batches[0][2:]


def test_a_run_is_the_same_whenever_it_is_run(data: Data, make_trial: MakeTrial) -> None:
    state = torch.get_rng_state()
    first, torch_seed = run(make_trial(), data, None), torch.get_rng_state()
    torch.rand(7)
    second = run(make_trial(), data, None)
    assert [comparable(r) for r in first] == [comparable(r) for r in second]
    assert torch.equal(state, torch_seed)
    assert comparable(run(make_trial(seed=1), data, None)[-1]) != comparable(first[-1])


def comparable(result: EpochResult) -> dict[str, float]:
    """All but the time."""
    return {name: value for name, value in result.metrics.items() if name not in MEASURED}


@pytest.mark.parametrize("method", METHODS)
def test_training_macs_are_counted_by_the_image(
    method: str, data: Data, teacher: OnlineTeacher, make_trial: MakeTrial
) -> None:
    trial = make_trial(method, epochs=4, **({"hint_fraction": 0.5} if method == "fitnet" else {}))
    metrics = run(trial, data, teacher)[-1].metrics
    student = cost_of(trial.student, input_shape=data.input_shape, classes=data.classes).macs
    images = 4 * 100
    # LP: a Gram matrix of 16 teacher features, and the Laplacian times 8 student features;
    # FitNet in its first two epochs: a 1 x 1 convolution of 4 on 8 maps, 8 x 8 pixels, in three passes;
    # CRD: embeddings of 8 and 16 features in 128, without a gradient for the teacher's, and two products with
    # a memory of 100 rows, which has none;
    # SRRL: a connector from 8 to 16 features in three passes, and a frozen classifier of 10 logits in two;
    # a Gram matrix of the teacher's features and one of the student's, in three passes: of SP's maps 4 x 4.
    gram = 50 * (16 + 3 * 8)
    # ReviewKD: three levels of 64, 16 and 1 places in 8 channels, from 4, 8 and 8 to 8, 16 and 16 channels.
    reduce, attend, expand = (4 * 8, 8 * 8, 8 * 8), (16 * 2, 16 * 2, 0), (9 * 8 * 8, 9 * 8 * 16, 9 * 8 * 16)
    levels = zip((64, 16, 1), reduce, attend, expand, strict=True)
    of_loss = {
        "reviewkd": 3 * sum(places * sum(weights) for places, *weights in levels),
        "lp": 50 * (16 + 8),
        "lp_kd": 50 * (16 + 8),
        "fitnet": 3 * 4 * 8 * 64 / 2,
        "crd": 3 * 8 * 128 + 2 * 16 * 128 + 2 * 2 * 100 * 128,
        "srrl": 3 * 8 * 16 + 2 * 16 * 10,
        "pkt": gram,
        "cc": gram,
        "rkd": 2 * gram,
        "sp": 16 * gram,
    }
    teacher_cost = (
        0
        if method == "bp"
        else images * cost_of(TEACHER, input_shape=data.input_shape, classes=data.classes).macs
    )
    assert metrics["teacher_macs"] == teacher_cost
    assert metrics["training_macs"] == images * (3 * student + of_loss.get(method, 0)) + teacher_cost
    norms_and_biases = 2 * (3 * 8 + 8 + 16 + 16) + 2 + 2
    auxiliary = {"reviewkd": sum(map(sum, (reduce, attend, expand))) + norms_and_biases}
    auxiliary |= {"fitnet": 4 * 8, "crd": (8 + 1 + 16 + 1) * 128, "srrl": 8 * 16 + 2 * 16}
    assert metrics["auxiliary_parameters"] == auxiliary.get(method, 0)
    assert metrics["loss_macs"] == of_loss.get(method, 0)
    # Beside CRD's weights: two memories of 100 x 128, two log Z, and eight bytes each of a count, a seed and
    # for every sample its place, its class's first place and its class's size.
    buffers = 4 * 2 * 100 * 128 + 2 * 4 + 8 * (2 + 3 * 100) if method == "crd" else 0
    assert metrics["auxiliary_bytes"] == 4 * auxiliary.get(method, 0) + buffers
    assert metrics["teacher_bytes"] == 0


def test_schedules_lower_the_rate_as_published(make_trial: MakeTrial) -> None:
    cosine, step, constant = (
        make_trial(schedule=schedule, learning_rate=0.05).training
        for schedule in ("cosine", "step", "constant")
    )
    assert [rate_at(cosine, p, 6) for p in (0, 3, 2)] == pytest.approx([0.05, 0.025, 0.0375])
    # 240 epochs, times 0.1 at 150, 180 and 210.
    rates = [rate_at(step, epoch, 240) for epoch in (0, 149, 150, 179, 180, 209, 210, 239)]
    assert rates == pytest.approx([0.05, 0.05, 5e-3, 5e-3, 5e-4, 5e-4, 5e-5, 5e-5])
    assert [rate_at(constant, p, 1) for p in (0, 0.99)] == [0.05, 0.05]


def test_equals_a_plain_loop_of_sgd_whose_rate_falls_at_every_step(
    data: Data, make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial(epochs=3, seed=4, optimizer="sgd", learning_rate=0.05, weight_decay=0.01)
    list(train(trial, data, None, device=CPU, folder=tmp_path))
    network = build(trial.student, input_shape=data.input_shape, classes=data.classes, seed=4)
    plain = torch.optim.SGD(network.parameters(), lr=0, momentum=0.9, nesterov=True, weight_decay=0.01)
    for epoch in (1, 2, 3):
        for step, batch in enumerate(data.train.epoch(Order(4, epoch, 50), device=CPU)):
            plain.param_groups[0]["lr"] = 0.025 * (1 + math.cos(math.pi * (2 * (epoch - 1) + step) / 6))
            plain.zero_grad()
            torch.nn.functional.cross_entropy(network(batch.images).logits, batch.labels).backward()
            plain.step()
    trained = load_file(tmp_path / "weights.safetensors")
    for name, value in network.state_dict().items():
        torch.testing.assert_close(trained[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["fitnet", "lp"])
def test_a_loss_that_is_not_finite_ends_the_run(
    method: str, data: Data, teacher: OnlineTeacher, make_trial: MakeTrial
) -> None:
    trial = make_trial(method, student={"family": "maxout", "depth": 3, "width": 4})
    wild = trial.training.model_copy(update={"learning_rate": 1e20})  # no study file may say so
    with pytest.raises(DivergedError, match=r"loss is (nan|inf) in epoch \d"):
        run(trial.model_copy(update={"training": wild}), data, teacher)


def test_a_long_epoch_is_not_trained_to_its_end_with_a_loss_that_is_not_finite(
    data: Data, teacher: OnlineTeacher, make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpstudy.training.trainer.LOOK_STEPS", 3)
    trial = make_trial("kd", epochs=1, batch_size=10, student={"family": "maxout", "depth": 3, "width": 4})
    wild = trial.training.model_copy(update={"learning_rate": 1e20})
    watching = Watching(teacher)
    with pytest.raises(DivergedError, match=r"loss is (nan|inf) in epoch 1"):
        run(trial.model_copy(update={"training": wild}), data, watching)
    assert len(watching.seen) in (3, 6)  # of ten steps


def test_weights_spoilt_by_the_very_last_step_end_the_run_too(data: Data, make_trial: MakeTrial) -> None:
    trial = make_trial(epochs=1, batch_size=100, student={"family": "maxout", "depth": 3, "width": 4})
    wild = trial.training.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(DivergedError, match="validation loss is"):
        run(trial.model_copy(update={"training": wild}), data, None)


def test_a_method_that_needs_a_teacher_is_refused_without(data: Data, make_trial: MakeTrial) -> None:
    with pytest.raises(ValueError, match="kd needs a teacher"):
        run(make_trial("kd"), data, None)


def test_the_parts_of_a_run_take_time(data: Data, teacher: OnlineTeacher, make_trial: MakeTrial) -> None:
    timed = time_run(make_trial("lp_kd"), data, teacher, device=CPU)
    assert min(timed.setup, timed.step, timed.image) > 0
    assert timed.end >= 0
    zero = {"cpu": 1.0, "training_macs": 0.0, "teacher_macs": 0.0}
    parts = RunSeconds(setup=1.0, step=0.5, end=0.25, image=0.125, **zero)
    assert parts.total(epochs=2, steps=4, validation=8, test=16) == 1 + 2 * (2 + 0.25 + 1) + 2


class Products(TorchDispatchMode):
    """Counts matrix products by the shape of what they give, and searches for the nearest."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        products, searches = torch.ops.aten.mm.default, torch.ops.aten.topk.default
        if func in (products, searches):
            self.seen.append("topk" if func is searches else tuple(result.shape))
        return result


def test_a_step_has_one_gram_matrix_and_one_search_for_neighbours(
    data: Data, teacher: OnlineTeacher, make_trial: MakeTrial
) -> None:
    one = Trainer(make_trial("lp_kd"), data, teacher, CPU)
    batch = next(data.train.epoch(Order(0, 1, 50), device=CPU))
    target = teacher.outputs(batch, one.needs)
    with Products() as products:
        one.step(batch, target, StepContext({"lp": 0.01, "kd": 1.0}, lambda rows: rows, data.classes))
    assert products.seen.count((50, 50)) == 1
    assert products.seen.count("topk") == 1
