"""Runs on images without labels: CE on the labelled ones, the teacher's terms on all."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from lpstudy.cost import cost_of
from lpstudy.data import Data, DataSpec, Order, load
from lpstudy.methods.soft_targets import kd_loss
from lpstudy.space import RunSpec
from lpstudy.students import build
from lpstudy.teacher import OnlineTeacher
from lpstudy.training import train
from lpstudy.training.directive import Directive
from lpstudy.training.trainer import Trainer

MakeTrial = Callable[..., RunSpec]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def mixed() -> Data:
    """50 labelled digits and 849 others; 33 steps of 25 and 25."""
    spec = {"kind": "digits", "labels_per_class": 5, "validation_fraction": 0.25, "unlabelled": "rest"}
    return load(DataSpec.model_validate(spec))


def test_ce_is_the_mean_over_labelled_images_and_the_teachers_terms_over_all(
    mixed: Data, teacher: OnlineTeacher, make_trial: MakeTrial
) -> None:
    run = Trainer(make_trial("kd", weight=2.0, temperature=3.0), mixed, teacher, CPU)
    network = build(run.trial.student, input_shape=mixed.input_shape, classes=10, seed=0)
    batch = next(iter(mixed.train.epoch(Order(0, 1, 50), device=CPU)))
    with torch.no_grad():
        logits = network(batch.images).logits
        soft = kd_loss(logits, teacher.network(batch.images).logits, temperature=3.0)
    ce = functional.cross_entropy(logits[:25], batch.labels[:25])
    metrics = run.steps(1, 1)
    assert metrics["train_ce"] == pytest.approx(float(ce), rel=1e-5)
    assert metrics["train_kd"] == pytest.approx(float(soft), rel=1e-5)
    assert metrics["train_loss"] == pytest.approx(float(ce + 2 * soft), rel=1e-5)


def test_back_prop_has_as_many_steps_and_pays_for_labelled_images_alone(
    mixed: Data, teacher: OnlineTeacher, make_trial: MakeTrial
) -> None:
    runs = [Trainer(make_trial(name, epochs=1), mixed, teacher, CPU) for name in ("bp", "kd")]
    assert [run.steps_per_epoch for run in runs] == [33, 33]
    bp, kd = (run.epoch(1, (), read_test=False).metrics for run in runs)
    spec = runs[0].trial.student
    student = cost_of(spec, input_shape=mixed.input_shape, classes=mixed.classes).macs
    assert bp["training_macs"] == 33 * 25 * 3 * student
    assert kd["training_macs"] - kd["teacher_macs"] == 33 * 50 * 3 * student


@pytest.mark.parametrize("method", ["bp", "kd", "lp_kd", "fitnet"])
def test_a_resumed_run_equals_an_undisturbed_one(
    method: str, mixed: Data, teacher: OnlineTeacher, make_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = make_trial(method, epochs=2, checkpoint_seconds=1000.0)
    whole = list(train(trial, mixed, teacher, device=CPU))
    answers = iter([Directive.CONTINUE] * 40 + [Directive.PAUSE] * 99)
    list(train(trial, mixed, teacher, device=CPU, folder=tmp_path, poll=lambda: next(answers)))
    resumed = list(train(trial, mixed, teacher, device=CPU, folder=tmp_path))
    assert [r.metrics["validation_loss"] for r in resumed] == [r.metrics["validation_loss"] for r in whole]
    assert [r.metrics["train_ce"] for r in resumed[1:]] == [r.metrics["train_ce"] for r in whole[1:]]
