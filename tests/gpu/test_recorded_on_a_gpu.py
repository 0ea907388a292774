"""Steps recorded as CUDA graphs are the steps that are run one by one; needs a GPU."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from recorded_steps import EPOCHS, state, steps

from lpstudy.data import Data
from lpstudy.methods import Step
from lpstudy.space import RunSpec
from lpstudy.teacher import OnlineTeacher
from lpstudy.training.cuda_graph import RecordedStep
from lpstudy.training.trainer import Trainer

MakeTrial = Callable[..., RunSpec]

CASES: dict[str, dict[str, object]] = {
    "bp": {},
    "lp_kd": {"n_neighbors": 3},
    "fitnet": {"mode": "two_stage", "hint_fraction": 0.5},
    "lp": {"n_neighbors": 3, "graph": "random", "ramp": 0.0},
    "dist": {},
    "rkd": {},
    "at": {},
    "crd": {"n_negatives": 20},
}


@pytest.mark.parametrize("method", CASES)
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_six_recorded_steps_equal_six_plain_ones(
    method: str,
    optimizer: str,
    data: Data,
    teacher: OnlineTeacher,
    make_trial: MakeTrial,
    device: torch.device,
) -> None:
    trial = make_trial(method, epochs=EPOCHS, optimizer=optimizer, precision="fp32", **CASES[method])
    on_gpu = OnlineTeacher(teacher.network, 1, device=device)
    plain, recorded = (Trainer(trial, data.to(device), on_gpu, device) for _ in range(2))
    expected = steps(plain, plain.learner.step, 6)
    graph = RecordedStep(recorded.learner)
    actual = steps(recorded, graph, 6)
    assert graph.refusal is None
    for number, (terms, other) in enumerate(zip(actual, expected, strict=True)):
        assert terms == pytest.approx(other, rel=1e-5, abs=1e-5), number
    assert ("hint" in expected[0]) == (method == "fitnet")
    assert "hint" not in expected[5]
    after = state(plain)
    for name, tensor in state(recorded).items():
        torch.testing.assert_close(tensor, after[name], rtol=1e-5, atol=1e-5, msg=name)


def test_a_step_that_cannot_be_recorded_is_run_as_it_is(
    data: Data, make_trial: MakeTrial, device: torch.device
) -> None:
    run, other = (Trainer(make_trial("bp", epochs=EPOCHS), data.to(device), None, device) for _ in range(2))

    class Waiting(type(run.method)):
        def loss(self, step: Step) -> object:
            loss = super().loss(step)
            loss.total.item()  # waits for the device
            return loss

    graph = RecordedStep(replace(run.learner, method=Waiting()))
    actual, expected = steps(run, graph, 3), steps(other, other.learner.step, 3)
    assert graph.refusal is not None
    for terms, plain in zip(actual, expected, strict=True):
        assert terms == pytest.approx(plain, rel=1e-5, abs=1e-5)
