"""The number of operators that a step launches; none of them makes the host wait for a GPU.

Upper bounds, counted on the CPU. A launch on a GPU is expected to cost some 5 us of the host, within a CUDA
graph some 1.3 us of the device (neither is measured), where a FitNet 1's step is to take 250 us.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
import torch
from tape import Launches, on_the_cpu

from lpstudy.data import Data
from lpstudy.methods import StepContext
from lpstudy.methods.bp import BP
from lpstudy.methods.kd import KD
from lpstudy.methods.lp import LP
from lpstudy.methods.method import Distillation
from lpstudy.outputs import Batch, Outputs
from lpstudy.space import RunSpec
from lpstudy.students import StudentSpec, build
from lpstudy.teacher import Bank
from lpstudy.training.cuda_graph import RecordedStep
from lpstudy.training.step import Learner
from lpstudy.training.trainer import Trainer

MakeTrial = Callable[..., RunSpec]
CPU = torch.device("cpu")
OUTSIDE = 64
"""Beside the replayed graph, for CE + KD + LP: batch, bank, what the graph reads, rate, sums."""


INSIDE = {"bp": 115, "kd": 137, "lp": 174}
"""Within the graph, for FitNet 1 in bfloat16; `lp` with soft targets."""
AT_THE_END = 14
"""Waits in an epoch's beginning and end, with LP's diagnostics but without the evaluation. Six of them, of
the order's seed, the next view and the effective rank, are for tensors on the CPU, wherever the step runs."""


def counted(work: Callable[[], object]) -> Launches:
    with Launches() as launches:
        work()
    return launches


@pytest.mark.parametrize("method", [BP(), KD(), LP(ramp=0.5, kd_weight=1.0)], ids=["bp", "kd", "lp with kd"])
def test_a_recorded_step_has_no_more_operators_than_it_had(method: Distillation) -> None:
    network = build(StudentSpec(family="maxout", design="fitnet1"), input_shape=(3, 32, 32), classes=10)
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True)
    for parameter in network.parameters():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    learner = Learner(network, None, method, (), optimizer, CPU, torch.channels_last, True)
    batch = Batch(torch.randn(8, 3, 32, 32), torch.arange(8), torch.arange(8), 0)
    target = Outputs(torch.randn(8, 10), torch.randn(8, 500), {})
    weights = {name: torch.tensor(0.5) for name in method.weights(0.6)}
    launches = counted(lambda: learner.step(batch, target, StepContext(weights, lambda rows: rows, 10)))
    assert not launches.waited
    assert len(launches.launched) <= INSIDE[method.method], Counter(launches.launched)


@pytest.fixture
def run(data: Data, make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """CE + KD + LP with a bank and a recorded step, ten steps an epoch."""
    on_the_cpu(monkeypatch)
    generator = torch.Generator().manual_seed(0)
    views = data.augmentations
    banked_outputs = {
        "logits": torch.randn(views, len(data.train), 10, generator=generator).half(),
        "embedding": torch.randn(views, len(data.train), 16, generator=generator).half(),
    }
    network = build(StudentSpec(family="convnet", depth=2, width=8), input_shape=data.input_shape, classes=10)
    bank = Bank(banked_outputs, network, 1, None, CPU)
    run = Trainer(make_trial("lp_kd", batch_size=10, epochs=4), data, bank, CPU)
    for group in run.learner.optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"])
    run.step = RecordedStep(run.learner)
    run.steps(1, 1)
    return run


def test_beside_the_graph_few_operators_are_launched(run: Trainer) -> None:
    few, more = (counted(partial(run.steps, 2, count)) for count in (2, 6))
    a_step = Counter(more.launched)
    a_step.subtract(few.launched)
    assert sum(a_step.values()) / 4 <= OUTSIDE, {name: n / 4 for name, n in a_step.items() if n}


def test_no_step_lets_the_host_wait(run: Trainer) -> None:
    few, more = (counted(partial(run.steps, 2, count)) for count in (2, 6))
    assert more.waited == few.waited
    assert 0 < len(few.waited) <= AT_THE_END, Counter(few.waited)


def test_the_bounds_see_what_they_are_for() -> None:
    values = torch.randn(8)
    assert counted(lambda: (values + 1).view(2, 4).detach()).launched == ["add"]
    assert counted(lambda: values.add_(1)).launched == ["add_"]
    assert counted(lambda: float(values.sum())).waited == ["_local_scalar_dense"]
    assert counted(lambda: values[values > 0]).waited == ["index"]
