"""What holds for every method; a new one is tested by being added to CASES."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from method_steps import step_on, unweighted
from pydantic import BaseModel, TypeAdapter, ValidationError
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from lpstudy.distill import METHODS, Loss, Method, Needs, StepContext
from lpstudy.distill.bp import BP
from lpstudy.distill.fitnet import FitNet
from lpstudy.distill.kd import KD
from lpstudy.distill.lp import LP
from lpstudy.distill.method import Distillation
from lpstudy.distill.registry import BUILT_IN
from lpstudy.outputs import Network, Outputs

CASES: dict[str, Distillation] = {
    "bp": BP(),
    "kd": KD(),
    "fitnet two_stage": FitNet(),
    "fitnet joint": FitNet(mode="joint"),
    "fitnet named maps": FitNet(mode="joint", hint="conv1", guided="conv3"),
    "lp": LP(),
    "lp normalised": LP(normalize=True),
    "lp of maps": LP(layer="conv2", teacher_layer="conv1"),
    "lp_kd": LP(kd_weight=1.0),
}
PROGRESS = (0.0, 0.6)
ANY: TypeAdapter[Distillation] = TypeAdapter(Method)

Images = Callable[[int], Tensor]
StepAt = Callable[[Distillation, float], StepContext]


@pytest.fixture(params=list(CASES))
def method(request: pytest.FixtureRequest, student: Network, teacher: Network) -> Distillation:
    return CASES[request.param].resolved(student, teacher)


def outputs(
    method: Distillation, student: Network, teacher: Network, images: Tensor
) -> tuple[Outputs, Outputs]:
    return student(images, method.student_maps()), teacher(images, method.teacher_needs().maps)


def auxiliary(method: Distillation, student: Network, teacher: Network, images: Tensor) -> nn.Module | None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        return method.auxiliary(*outputs(method, student, teacher, images))


def test_every_built_in_method_is_listed_by_its_name_and_has_a_case() -> None:
    assert {name: model.model_fields["method"].default for name, model in METHODS.items()} == {
        name: name for name in METHODS
    }
    assert {type(case) for case in CASES.values()} == set(METHODS.values()) == set(BUILT_IN)


def test_needs_keep_the_order_of_maps_and_count_a_repeated_one_once() -> None:
    assert Needs(maps=("conv3", "conv1", "conv3")).maps == ("conv3", "conv1")
    assert Needs(maps=("conv1", "conv3")) != Needs(maps=("conv3", "conv1"))


@pytest.mark.parametrize("name", METHODS)
def test_is_made_from_its_name_alone_and_survives_json(name: str) -> None:
    made = ANY.validate_python({"method": name})
    assert type(made) is METHODS[name]
    assert ANY.validate_json(ANY.dump_json(made)) == made
    assert hash(made) == hash(METHODS[name]())


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"unknown method 'mystery'; known are bp, kd, fitnet, lp"):
        ANY.validate_python({"method": "mystery"})


def test_a_method_cannot_be_changed(method: Distillation) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        method.method = "other"


@pytest.mark.parametrize("samples", [1, 2, 5, 12])
@pytest.mark.parametrize("progress", PROGRESS)
def test_loss_is_finite_and_its_gradient_reaches_the_student_but_never_the_teacher(
    method: Distillation,
    student: Network,
    teacher: Network,
    images: Images,
    labels: Images,
    step_at: StepAt,
    samples: int,
    progress: float,
) -> None:
    extra = auxiliary(method, student, teacher, images(2))
    mine, theirs = outputs(method, student, teacher, images(samples))
    loss = method.loss(step_on(step_at(method, progress), mine, theirs, labels(samples), extra))
    assert loss.total.shape == ()
    assert loss.total.isfinite()
    assert loss.parts
    assert loss.parts.keys() <= {"ce", "kd", "hint", "lp"}
    assert all(
        part.isfinite() and part.shape == () and not part.requires_grad for part in loss.parts.values()
    )
    loss.total.backward()
    first = student.get_parameter("conv1.weight").grad
    assert first is not None
    assert first.isfinite().all()
    assert first.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_reads_nothing_of_the_teacher_but_what_it_names(
    method: Distillation, student: Network, teacher: Network, images: Images, labels: Images, step_at: StepAt
) -> None:
    needs = method.teacher_needs()
    extra = auxiliary(method, student, teacher, images(2))
    mine, full = outputs(method, student, teacher, images(8))
    void = torch.full((8, 1), math.nan)
    theirs = Outputs(
        full.logits if needs.logits else void, full.embedding if needs.embedding else void, full.maps
    )
    for progress in PROGRESS:
        given = None if needs == Needs() else theirs
        assert method.loss(step_on(step_at(method, progress), mine, given, labels(8), extra)).total.isfinite()


def test_says_so_where_the_teacher_it_needs_is_missing(
    method: Distillation, student: Network, teacher: Network, images: Images, labels: Images, step_at: StepAt
) -> None:
    if method.teacher_needs() == Needs():
        return
    extra = auxiliary(method, student, teacher, images(2))
    mine, _ = outputs(method, student, teacher, images(4))
    with pytest.raises(ValueError, match=r"\Athe loss needs the teacher's outputs but there is no teacher\Z"):
        method.loss(step_on(step_at(method, 0.5), mine, None, labels(4), extra))


@pytest.mark.parametrize("progress", PROGRESS)
def test_under_bf16_autocast_the_loss_stays_in_float32_and_close(
    method: Distillation,
    student: Network,
    teacher: Network,
    images: Images,
    labels: Images,
    step_at: StepAt,
    progress: float,
) -> None:
    extra = auxiliary(method, student, teacher, images(2))

    def measured() -> Loss:
        mine, theirs = outputs(method, student, teacher, images(24))
        return method.loss(step_on(step_at(method, progress), mine, theirs, labels(24), extra))

    exact = measured()
    with torch.autocast("cpu", torch.bfloat16):
        half = measured()
    assert half.total.dtype == torch.float32
    assert half.parts.keys() == exact.parts.keys()
    for name, part in exact.parts.items():
        torch.testing.assert_close(half.parts[name], part, rtol=0.1, atol=1e-2)
    half.total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in student.parameters())


def test_float64_stays_float64(
    method: Distillation, student: Network, teacher: Network, images: Images, labels: Images, step_at: StepAt
) -> None:
    extra = auxiliary(method, student.double(), teacher.double(), images(2).double())
    mine, theirs = outputs(method, student, teacher, images(6).double())
    extra = extra.double() if extra is not None else None
    assert (
        method.loss(step_on(step_at(method, 0.5), mine, theirs, labels(6), extra)).total.dtype
        == torch.float64
    )


def test_nothing_in_a_step_waits_for_a_value(
    method: Distillation, student: Network, teacher: Network, images: Images, labels: Images, step_at: StepAt
) -> None:
    # Fake tensors have no values: `.item()` or a branch on one raises.
    extra = auxiliary(method, student, teacher, images(2))
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        batch, targets = fake.from_tensor(images(6)), fake.from_tensor(labels(6))
        for progress in PROGRESS:
            mine, theirs = outputs(method, student, teacher, batch)
            total = method.loss(step_on(step_at(method, progress), mine, theirs, targets, extra)).total
            assert isinstance(total, FakeTensor)
            total.backward()


def test_leaves_the_global_random_generator_alone(
    method: Distillation, student: Network, teacher: Network, images: Images, labels: Images, step_at: StepAt
) -> None:
    extra = auxiliary(method, student, teacher, images(2))
    before = torch.get_rng_state()
    mine, theirs = outputs(method, student, teacher, images(6))
    method.loss(step_on(step_at(method, 0.5), mine, theirs, labels(6), extra))
    method.start(step_on(step_at(method, 0.5), mine, theirs, labels(6)))
    method.diagnose(step_on(unweighted(3), mine.detach(), theirs, labels(6)))
    assert torch.equal(before, torch.get_rng_state())


def test_training_lowers_the_loss(
    method: Distillation, student: Network, teacher: Network, images: Images, labels: Images, step_at: StepAt
) -> None:
    extra = auxiliary(method, student, teacher, images(2))
    trained = [*student.parameters(), *(extra.parameters() if extra is not None else ())]
    optimizer = torch.optim.Adam(trained, lr=1e-2)
    totals = []
    for _ in range(25):
        mine, theirs = outputs(method, student, teacher, images(24))
        total = method.loss(step_on(step_at(method, 0.0), mine, theirs, labels(24), extra)).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.95 * totals[0]


@pytest.mark.parametrize("samples", [1, 2, 24])
@pytest.mark.parametrize("factor", [0.0, 1.0, 1e4, math.nan])
def test_metrics_are_finite_numbers_and_warnings_single_lines_that_do_not_vary(
    method: Distillation,
    student: Network,
    teacher: Network,
    images: Images,
    labels: Images,
    step_at: StepAt,
    samples: int,
    factor: float,
) -> None:
    mine, theirs = outputs(method, student, teacher, images(samples))
    maps = {name: value * factor for name, value in mine.maps.items()}
    scaled = Outputs(mine.logits, mine.embedding * factor, maps)
    metrics = method.start(step_on(step_at(method, 0.0), mine, theirs, labels(samples)))
    with torch.no_grad():
        metrics |= method.diagnose(step_on(unweighted(3), scaled, theirs, labels(samples)))
    assert all(type(value) is float and math.isfinite(value) for value in metrics.values())
    found = method.warnings(metrics, batch_size=samples, classes=3)
    assert all(line.strip() == line and "\n" not in line for line in found)
    moved = {name: value * 1.0001 for name, value in metrics.items()}
    assert method.warnings(moved, batch_size=samples, classes=3) == found
    assert method.warnings({}, batch_size=10**6, classes=3) == ()


def test_the_graph_is_kept_for_the_step_after_the_start(
    method: Distillation, student: Network, teacher: Network, images: Images, labels: Images, step_at: StepAt
) -> None:
    extra = auxiliary(method, student, teacher, images(2))
    mine, theirs = outputs(method, student, teacher, images(6))
    method.start(step_on(step_at(method, 0.0), mine, theirs, labels(6)))
    assert all(parameter.grad is None for parameter in student.parameters())
    method.loss(step_on(step_at(method, 0.0), mine, theirs, labels(6), extra)).total.backward()


def test_has_a_docstring_of_its_own_and_no_hyperparameter_without_a_default(method: Distillation) -> None:
    assert type(method).__doc__ != Distillation.__doc__
    assert issubclass(type(method), BaseModel)
    fields: dict[str, Any] = dict(type(method).model_fields)
    assert not [name for name, field in fields.items() if field.is_required()]
