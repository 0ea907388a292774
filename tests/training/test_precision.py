"""bfloat16 on request, also where the hardware has to emulate it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lpstudy.data import Data, Order
from lpstudy.methods import METHODS, Needs, StepContext
from lpstudy.methods.lp import LP
from lpstudy.space import RunSpec
from lpstudy.teacher import OnlineTeacher
from lpstudy.training import train
from lpstudy.training.trainer import Trainer

MakeTrial = Callable[..., RunSpec]
Patch = pytest.MonkeyPatch

CPU = torch.device("cpu")


@pytest.mark.parametrize("method", METHODS)
def test_bf16_loses_two_percent_of_the_first_epochs_loss_at_the_most(
    method: str, data: Data, teacher: OnlineTeacher, make_trial: MakeTrial
) -> None:
    metrics = {}
    for precision in ("bf16", "fp32"):
        trial = make_trial(method, epochs=2, precision=precision)
        metrics[precision] = next(iter(train(trial, data, teacher, device=CPU))).metrics
    assert metrics["bf16"]["train_loss"] == pytest.approx(metrics["fp32"]["train_loss"], rel=0.02)
    assert metrics["bf16"]["train_loss"] != metrics["fp32"]["train_loss"]


@pytest.mark.parametrize("hardware", [True, False])
@pytest.mark.parametrize(("setting", "expected"), [("auto", None), ("bf16", True), ("fp32", False)])
def test_auto_is_bf16_where_the_hardware_has_it(
    setting: str, expected: bool | None, hardware: bool, data: Data, make_trial: MakeTrial, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("lpstudy.training.precision.has_bf16", lambda device: hardware)
    run = Trainer(make_trial(precision=setting), data, None, CPU)
    assert run.learner.bf16 == (hardware if expected is None else expected)
    run.steps(1, 1)
    assert run.learner.forward(next(data.train.batches(batch_size=2, device=CPU))).logits.dtype == (
        torch.bfloat16 if run.learner.bf16 else torch.float32
    )


def lp_by_definition(student: NDArray[np.float64], teacher: NDArray[np.float64], *, k: int) -> float:
    """1/(2m) sum_ij a_ij |s_i - s_j|^2, in float64; sigma^2 is the lower median over the edges."""
    m = len(teacher)
    apart = ((teacher[:, None] - teacher) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = np.argsort(apart, axis=1)[:, :k]
    edges = np.take_along_axis(apart, nearest, axis=1)
    sigma2 = np.sort(edges, axis=None)[(edges.size - 1) // 2]
    total = 0.0
    for i in range(m):
        for j, squared in zip(nearest[i], edges[i], strict=True):
            total += np.exp(-squared / sigma2) * ((student[i] - student[j]) ** 2).sum()
    return float(total / (2 * m))


def test_lp_is_computed_in_float32_of_what_the_student_gave(
    data: Data, teacher: OnlineTeacher, make_trial: MakeTrial
) -> None:
    run = Trainer(make_trial("lp", precision="bf16"), data, teacher, CPU)
    batch = next(data.train.epoch(Order(0, 1, 50), device=CPU))
    target = teacher.outputs(batch, Needs(embedding=True))
    run.learner.student.train()
    terms, student = run.step(batch, target, StepContext({"lp": 0.01}, lambda rows: rows, data.classes))
    student_features, teacher_features = (outputs.embedding.double().numpy() for outputs in (student, target))
    expected = lp_by_definition(student_features, teacher_features, k=LP().n_neighbors)
    assert terms["lp"].dtype == terms["loss"].dtype == torch.float32
    assert terms["lp"].item() == pytest.approx(expected, rel=1e-5)
    assert {parameter.dtype for parameter in run.learner.parameters} == {torch.float32}
