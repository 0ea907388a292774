"""The recorded step, with CUDA graphs replayed on the CPU: it is the plain step to the last bit."""

import gc
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, get_args

import pytest
import torch
from recorded_steps import EPOCHS, Dropping, state, steps
from tape import Tape, on_the_cpu
from torch import Tensor

from lpstudy.data import Data
from lpstudy.methods import METHODS as ALL_METHODS
from lpstudy.methods import Step, StepContext
from lpstudy.methods.bp import BP
from lpstudy.methods.loss import Loss
from lpstudy.methods.lp_graphs import GraphName
from lpstudy.outputs import Batch, Outputs
from lpstudy.space import RunSpec
from lpstudy.teacher import OnlineTeacher
from lpstudy.training.cuda_graph import RecordedStep
from lpstudy.training.step import Learner
from lpstudy.training.trainer import Trainer

MakeTrial = Callable[..., RunSpec]
MakeRun = Callable[..., Trainer]
CPU = torch.device("cpu")
METHODS: dict[str, dict[str, object]] = {
    "bp": {},
    "kd": {},
    "lp": {"n_neighbors": 3},
    "lp_kd": {"n_neighbors": 3},
    "fitnet": {"mode": "two_stage", "hint_fraction": 0.5},
    "crd": {"n_negatives": 20},
}
STUDENTS: dict[str, dict[str, object]] = {
    "convnet": {"family": "convnet", "depth": 2, "width": 4},
    "wrn": {"family": "wrn", "depth": 10, "width": 1},
    "maxout": {"family": "maxout", "depth": 3, "width": 4},
}


@pytest.fixture(autouse=True, scope="module")
def _little_garbage() -> Iterator[None]:
    """Each recording collects garbage: it need not go through what other tests have imported."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _tapes(monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_cpu(monkeypatch)


@pytest.fixture
def make_run(data: Data, teacher: OnlineTeacher, make_trial: MakeTrial) -> MakeRun:
    def make(method: str, **values: object) -> Trainer:
        """A run whose rate is a tensor, as on a GPU."""
        trial = make_trial(
            method, epochs=EPOCHS, **{"precision": "fp32", **METHODS.get(method, {}), **values}
        )
        run = Trainer(trial, data, teacher, CPU)
        for group in run.learner.optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"])
        return run

    return make


def assert_equal_states(one: Trainer, other: Trainer) -> None:
    expected = state(other)
    for name, tensor in state(one).items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(
    "student",
    [
        {"family": "resnet", "depth": 8, "width": 1},
        {"family": "vgg", "depth": 8, "width": 4},
        {"family": "shufflenetv2", "width": 50},
    ],
    ids=lambda student: student["family"],
)
def test_so_do_steps_of_other_families(student: dict[str, object], make_run: MakeRun) -> None:
    plain, recorded = (make_run("bp", student=student, optimizer="sgd") for _ in range(2))
    graph = RecordedStep(recorded.learner)
    assert steps(recorded, graph) == steps(plain, plain.learner.step)
    assert graph.refusal is None
    assert_equal_states(recorded, plain)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_eight_recorded_steps_equal_eight_plain_ones(
    method: str, student: str, optimizer: str, make_run: MakeRun
) -> None:
    plain, recorded = (make_run(method, student=STUDENTS[student], optimizer=optimizer) for _ in range(2))
    graph = RecordedStep(recorded.learner)
    assert steps(recorded, graph) == steps(plain, plain.learner.step)
    assert graph.refusal is None
    assert Tape.recordings == (2 if method == "fitnet" else 1)
    assert_equal_states(recorded, plain)


def test_the_average_of_the_weights_is_recorded_with_the_step(make_run: MakeRun) -> None:
    plain, recorded = (make_run("kd", ema=0.9, ce_weight=0.1) for _ in range(2))
    step = RecordedStep(recorded.learner)
    assert steps(recorded, step) == steps(plain, plain.learner.step)
    assert step.refusal is None
    assert any(name.startswith("average.") for name in state(plain))
    assert_equal_states(recorded, plain)


@pytest.mark.parametrize("graph", get_args(GraphName))
def test_so_do_steps_of_every_graph(graph: GraphName, make_run: MakeRun) -> None:
    plain, recorded = (make_run("lp", graph=graph, gamma=1.0, ramp=0.0) for _ in range(2))
    step = RecordedStep(recorded.learner)
    assert steps(recorded, step) == steps(plain, plain.learner.step)
    assert step.refusal is None
    assert_equal_states(recorded, plain)


@pytest.mark.parametrize("method", sorted(set(ALL_METHODS) - set(METHODS)))
def test_so_do_steps_of_every_method(method: str, make_run: MakeRun) -> None:
    plain, recorded = make_run(method), make_run(method)
    step = RecordedStep(recorded.learner)
    # A convolution may sum in another order where its tensors lie elsewhere.
    for mine, theirs in zip(steps(recorded, step), steps(plain, plain.learner.step), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)
    assert step.refusal is None
    expected = state(plain)
    for name, tensor in state(recorded).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_a_rate_that_is_a_number_would_stay_as_it_was_recorded(make_run: MakeRun) -> None:
    plain, recorded = make_run("bp"), make_run("bp")
    for run in (plain, recorded):
        for group in run.learner.optimizer.param_groups:
            group["lr"] = float(group["lr"])
    assert steps(recorded, RecordedStep(recorded.learner)) != steps(plain, plain.learner.step)


def dropping() -> Learner:
    torch.manual_seed(0)
    network = Dropping()
    optimizer = torch.optim.AdamW(network.parameters(), lr=torch.tensor(0.1), fused=True)
    return Learner(network, None, BP(), (), optimizer, CPU, torch.contiguous_format, False)


def drawn(*recordings: Callable[..., tuple[Mapping[str, Tensor], Outputs]]) -> list[float]:
    """The losses of three steps by each."""
    images = torch.randn(8, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    batch = Batch(images, torch.arange(8), torch.arange(8), 0)
    torch.manual_seed(5)
    losses = []
    for step, _ in itertools.product(recordings, range(3)):
        terms, _ = step(batch, None, StepContext({}, lambda rows: rows, 10))
        losses.append(float(terms["loss"]))
    return losses


def test_a_recording_draws_no_random_numbers() -> None:
    plain = dropping().step
    expected = drawn(plain, plain)
    step = RecordedStep(dropping())
    assert drawn(step, step) == expected
    assert step.refusal is None
    learner = dropping()
    assert (
        drawn(RecordedStep(learner), RecordedStep(learner)) == expected
    )  # as a run resumed in another process


class Waiting(BP):
    """Waits for the device in its loss."""

    def loss(self, step: Step) -> Loss:
        loss = super().loss(step)
        loss.total.item()
        return loss


class BySample(BP):
    """CE that each sample's position is added to."""

    reads_samples: ClassVar[bool] = True

    def loss(self, step: Step) -> Loss:
        return super().loss(step).plus("position", step.samples.float().mean(), weight=1.0)


def test_a_loss_by_sample_sees_the_samples_of_each_step(make_run: MakeRun) -> None:
    plain, recorded = make_run("bp"), make_run("bp")
    learner = replace(recorded.learner, method=BySample())
    expected = steps(plain, replace(plain.learner, method=BySample()).step)
    assert steps(recorded, RecordedStep(learner)) == expected
    assert len({terms["position"] for terms in expected}) == len(expected)


class Unrecordable(BP):
    """A method that raises in a recording, without an earlier sign."""

    words: str

    def loss(self, step: Step) -> Loss:
        if Tape.recording:
            raise RuntimeError(self.words)
        return super().loss(step)


REFUSED = Unrecordable(words="operation not permitted when stream is capturing")


@pytest.mark.parametrize(("method", "recordings"), [(Waiting(), 0), (REFUSED, 1)], ids=["waiting", "refused"])
def test_a_step_that_cannot_be_recorded_is_run_as_it_is(
    method: BP, recordings: int, make_run: MakeRun
) -> None:
    plain, recorded = make_run("bp"), make_run("bp")
    recorded.step = graph = RecordedStep(replace(recorded.learner, method=method))
    assert steps(recorded, graph, 3) == steps(plain, plain.learner.step, 3)
    assert graph.refusal is not None
    assert (
        Tape.recordings == recordings
    )  # what waits is found before: a refused capture is an error of the device
    assert_equal_states(recorded, plain)
    results = [recorded.epoch(epoch, (), read_test=False) for epoch in (1, 2)]
    assert results[0].metrics["train_loss"] > results[1].metrics["train_loss"]
    assert f"no CUDA graph was recorded: {graph.refusal}" in results[1].warnings[0]


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
    ],
)
def test_a_card_that_is_full_is_no_step_that_cannot_be_recorded(words: str, make_run: MakeRun) -> None:
    run = make_run("bp")
    graph = RecordedStep(replace(run.learner, method=Unrecordable(words=words)))
    with pytest.raises(RuntimeError, match=words[:20]):
        steps(run, graph, 1)
    assert graph.refusal is None


def test_recordings_have_streams_of_their_own_and_no_garbage_collector(make_run: MakeRun) -> None:
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            for _ in range(2):
                run = make_run("bp")
                steps(run, RecordedStep(run.learner), 1)
            assert gc.isenabled() == enabled
        finally:
            gc.enable()
    assert not any(Tape.collected)
    assert len(set(map(id, Tape.streams))) == 4
