"""What holds for every method, built-in ones by CASES; and every check fails where it must."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import pytest
import torch
from method_cases import CASES
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from lpstudy.diagnostic import Diagnostic
from lpstudy.methods import METHODS, Loss, Method, Needs, Step, cross_entropy
from lpstudy.methods.loss import full_precision
from lpstudy.methods.lp import LP
from lpstudy.methods.method import Distillation
from lpstudy.methods.registry import BUILT_IN
from lpstudy.outputs import Network, Outputs
from lpstudy.testing import CHECKS, MethodCase, check_method, make_case
from lpstudy.testing.method_case import PROGRESS

ANY: TypeAdapter[Distillation] = TypeAdapter(Method)


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest, student: Network, teacher: Network) -> MethodCase:
    """The teacher's maps differ from the student's in channels and size."""
    return make_case(CASES[request.param], student, teacher)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_passes_every_check(check: Callable[[MethodCase], None], case: MethodCase) -> None:
    check(case)


def test_every_built_in_method_is_listed_by_its_name_and_has_a_case() -> None:
    assert {name: model.model_fields["method"].default for name, model in METHODS.items()} == {
        name: name for name in METHODS
    }
    assert {type(case) for case in CASES.values()} == set(METHODS.values()) == set(BUILT_IN)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("progress", PROGRESS)
def test_gradient_is_that_of_finite_differences(
    name: str, progress: float, student: Network, teacher: Network
) -> None:
    case = make_case(CASES[name], student, teacher)
    with case.in_float64() as make_auxiliary:
        mine, theirs = case.outputs(7, torch.float64)
        extra = make_auxiliary()

        def total(logits: Tensor, embedding: Tensor, *maps: Tensor) -> Tensor:
            outputs = Outputs(logits, embedding, dict(zip(mine.maps, maps, strict=True)))
            return case.method.loss(case.step(progress, outputs, theirs, extra)).total

        inputs = [mine.logits, mine.embedding, *mine.maps.values()]
        leaves = [value.detach().requires_grad_() for value in inputs]
        assert torch.autograd.gradcheck(total, leaves, fast_mode=True)


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
    with pytest.raises(ValidationError, match=r"unknown method 'mystery'; known are bp, kd, .*, lp"):
        ANY.validate_python({"method": "mystery"})


class Sound(Distillation):
    """CE + the squared difference of the means of the embeddings."""

    method: Literal["sound"] = "sound"
    diagnostics: ClassVar[tuple[Diagnostic, ...]] = (Diagnostic("gap", "gap"),)

    @override
    def teacher_needs(self) -> Needs:
        return Needs(embedding=True)

    @override
    def weights(self, progress: float) -> dict[str, float]:
        return {"gap": 1.0}

    def gap(self, step: Step) -> Tensor:
        means = (full_precision(step.gather(of.embedding)).mean() for of in (step.student, step.teacher))
        return (next(means) - next(means)).square()

    @override
    def loss(self, step: Step) -> Loss:
        return cross_entropy(step).plus("gap", self.gap(step), weight=1.0)

    @override
    def diagnose(self, step: Step) -> dict[str, float]:
        return {"gap": float(self.gap(step).nan_to_num())}


class ReadsLogits(Sound):
    """Reads what it does not name."""

    @override
    def gap(self, step: Step) -> Tensor:
        return (step.student.logits.mean() - step.teacher.logits.mean()).square()


class Waits(Sound):
    """Branches on a value."""

    @override
    def gap(self, step: Step) -> Tensor:
        gap = super().gap(step)
        return gap if float(gap.detach()) > 0 else gap * 2


class WaitsAfterwards(Sound):
    """Branches on a value in its update."""

    @override
    def update(self, step: Step) -> None:
        if float(step.student.logits.sum()) > 0:
            step.student.logits.zero_()


class Draws(Sound):
    """Draws noise from the global generator."""

    @override
    def gap(self, step: Step) -> Tensor:
        return super().gap(step) + 0 * torch.randn(())


class Unweighted(Sound):
    """Has a part without a weight."""

    @override
    def weights(self, progress: float) -> dict[str, float]:
        return {}


class Climbs(Sound):
    """Learns to be wrong."""

    @override
    def loss(self, step: Step) -> Loss:
        loss = super().loss(step)
        return Loss(10 - loss.total + 1e4 * step.student.logits.detach().square().mean(), loss.parts)


class Frozen(Sound):
    """Has no gradient."""

    @override
    def loss(self, step: Step) -> Loss:
        loss = super().loss(step)
        return Loss(0 * loss.total, loss.parts)


class TakesAName(Sound):
    """Logs a metric of lpstudy."""

    @override
    def diagnose(self, step: Step) -> dict[str, float]:
        return super().diagnose(step) | {"seconds": 1.0}


class Silent(Sound):
    """Does not log what it declares."""

    @override
    def diagnose(self, step: Step) -> dict[str, float]:
        return {}


class Varies(Sound):
    """Warns with a number."""

    @override
    def warnings(self, metrics: Mapping[str, float], *, batch_size: int, classes: int) -> tuple[str, ...]:
        return (f"gap is {metrics['gap']}",) if metrics else ()


class Ungathered(Sound):
    """Compares samples of its own worker alone."""

    @override
    def gap(self, step: Step) -> Tensor:
        return (step.student.embedding.mean() - step.teacher.embedding.mean()).square()


class Ordered(Sound):
    """Compares a sample with the one before it."""

    @override
    def gap(self, step: Step) -> Tensor:
        rows = full_precision(step.gather(step.student.embedding))
        return (rows - rows.roll(1, 0) - step.teacher.embedding.mean()).abs().mean()


class Divides(Sound):
    """Divides by a length that may be 0."""

    @override
    def gap(self, step: Step) -> Tensor:
        return super().gap(step) / step.student.embedding.float().norm()


class Selects(Sound):
    """Selects rows by a condition, of which there may be any number."""

    @override
    def gap(self, step: Step) -> Tensor:
        return super().gap(step) + step.student.embedding[step.labels > 0].sum() * 0


class OneLabel(Sound):
    """Computes CE by itself."""

    @override
    def loss(self, step: Step) -> Loss:
        value = functional.cross_entropy(full_precision(step.student.logits), step.labels, ignore_index=-1)
        return Loss(value, {"ce": value.detach()}).plus("gap", self.gap(step), weight=1.0)


class Brittle(Sound):
    """Takes a small difference of large numbers."""

    @override
    def gap(self, step: Step) -> Tensor:
        return super().gap(step) + (1e4 * step.teacher.embedding.sum()).sin()


class Lonely(Sound):
    """Works without the teacher that it names."""

    @override
    def gap(self, step: Step) -> Tensor:
        return step.student.embedding.float().mean().square()


def test_a_loss_that_a_bank_in_float16_changes_fails(student: Network, teacher: Network) -> None:
    with pytest.raises(AssertionError, match="the teacher's outputs in float16 change the loss by"):
        CHECKS["bank"](MethodCase(Brittle(), student, teacher))


def test_a_sound_method_passes() -> None:
    check_method(Sound)
    check_method(LP(layer="conv2", teacher_layer="conv3"))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (ReadsLogits, "needs: the loss reads what teacher_needs does not name"),
        (Waits, "no wait: a step waits for a value"),
        (WaitsAfterwards, "no wait: a step waits for a value"),
        (Selects, "no wait: a step waits for a value"),
        (Ungathered, "workers: two workers have another gradient of conv1.weight than one"),
        (OneLabel, "mixed images: CE of mixed images is .*, not .*: begin the loss with cross_entropy"),
        (Ordered, "order: the loss is .* and .* for the same batch in another order"),
        (Divides, "degenerate batches: the loss is nan for outputs that are all 0"),
        (Draws, "randomness: it draws from torch's global generator"),
        (Unweighted, r"weights: parts \['ce', 'gap'\] but weights \[\]"),
        (Climbs, "descent: training lowers the loss from .* to "),
        (Frozen, "gradients: no gradient reaches the student"),
        (TakesAName, "metrics: metric seconds is taken"),
        (Silent, r"metrics: diagnostics \['gap'\] are declared"),
        (Varies, "metrics: a warning holds a number that varies"),
        (Lonely, "missing teacher: the loss needs the teacher but is computed without it"),
    ],
)
def test_an_unsound_method_fails_by_the_name_of_the_check(model: type[Distillation], words: str) -> None:
    with pytest.raises(AssertionError, match=rf"{model.__name__}: {words}"):
        check_method(model)
