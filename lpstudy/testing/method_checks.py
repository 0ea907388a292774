"""The checks of a method, each on one `MethodCase`; a failed one raises AssertionError."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from lpstudy.methods import Distillation, Needs, declaration_of
from lpstudy.methods.reductions import teacher_outputs
from lpstudy.outputs import Outputs
from lpstudy.spending import SPENDING, STEP_SECONDS
from lpstudy.testing import batch_checks
from lpstudy.testing.method_case import (
    CLASSES,
    PROGRESS,
    MethodCase,
    example_images,
    example_labels,
    require,
)

RESERVED = (
    "seconds",
    STEP_SECONDS,
    *SPENDING,
    "validation_accuracy",
    "validation_loss",
    "test_accuracy",
    "test_balanced_accuracy",
    "test_top5_accuracy",
    "test_ece",
    "test_nll",
    "test_brier",
    "test_agreement",
    "test_teacher_kl",
    "macs",
    "parameters",
)
"""Metrics that lpstudy itself logs."""


def _gradients(network: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def check_declaration(case: MethodCase) -> None:
    """Every hyperparameter has a default, a type of a study file and survives JSON; none can be changed."""
    model = type(case.method)
    declaration_of(model)
    required = [key for key, field in model.model_fields.items() if field.is_required()]
    require(not required, f"{required} have no default")
    require((model.__doc__ or "").strip() and model.__doc__ != Distillation.__doc__, "it has no docstring")
    text = case.method.model_dump_json()
    require(model.model_validate_json(text) == case.method, "JSON changes it")
    require(hash(model.model_validate_json(text)) == hash(case.method), "JSON changes its hash")
    try:
        case.method.method = "other"  # type: ignore[misc]  # which is what must fail
    except ValidationError:
        return
    require(False, "it can be changed: its model_config must be frozen")


def check_gradients(case: MethodCase) -> None:
    """The loss is a finite number whose gradient reaches the student and never the teacher."""
    for samples in (1, 2, 5, 12):
        for progress in PROGRESS:
            case.student.zero_grad(set_to_none=True)
            loss = case.loss(samples, progress, case.auxiliary())
            where = f"for {samples} samples at progress {progress}"
            require(loss.total.shape == () and loss.total.isfinite(), f"the loss is not finite {where}")
            require(loss.parts, f"the loss has no parts {where}")
            for name, part in loss.parts.items():
                is_number = part.shape == () and bool(part.isfinite())
                require(is_number and not part.requires_grad, f"part {name} is no detached number {where}")
            loss.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            gradients = _gradients(case.student)
            require(all(g.isfinite().all() for g in gradients), f"a gradient is not finite {where}")
            require(any(g.abs().sum() > 0 for g in gradients), f"no gradient reaches the student {where}")
            require(not _gradients(case.teacher), f"a gradient reaches the teacher {where}")


def check_needs(case: MethodCase) -> None:
    """The loss reads nothing of the teacher but what `teacher_needs` names."""
    needs = case.method.teacher_needs()
    mine, full = case.outputs(8)
    void = torch.full((8, 1), math.nan)
    theirs = Outputs(
        full.logits if needs.logits else void, full.embedding if needs.embedding else void, full.maps
    )
    for progress in PROGRESS:
        step = case.step(progress, mine, None if needs == Needs() else theirs, case.auxiliary())
        require(case.method.loss(step).total.isfinite(), "the loss reads what teacher_needs does not name")


def check_weights(case: MethodCase) -> None:
    """`weights` has a factor for each part of the loss besides CE, and none for another."""
    for progress in PROGRESS:
        parts = case.loss(6, progress, case.auxiliary()).parts.keys()
        weights = case.method.weights(progress).keys()
        require(parts - {"ce"} == weights, f"parts {sorted(parts)} but weights {sorted(weights)}")


def check_missing_teacher(case: MethodCase) -> None:
    """Without the teacher that it needs the loss raises ValueError; `step.teacher` does."""
    if case.method.teacher_needs() == Needs():
        return
    step = case.step(0.5, case.outputs(4)[0], None, case.auxiliary())
    try:
        case.method.loss(step)
    except ValueError:
        return
    require(False, "the loss needs the teacher but is computed without it")


def check_bf16(case: MethodCase) -> None:
    """Under bfloat16 autocast the loss stays in float32 and close to the exact one."""
    for progress in PROGRESS:
        extra = case.auxiliary()
        exact = case.loss(24, progress, extra)
        with torch.autocast("cpu", torch.bfloat16):
            half = case.loss(24, progress, extra)
        require(half.total.dtype == torch.float32, f"the loss is {half.total.dtype} under bf16 autocast")
        for name, part in exact.parts.items():
            is_close = torch.allclose(half.parts[name].float(), part, rtol=0.1, atol=1e-2)
            require(is_close, f"part {name} is {half.parts[name]} under bf16 autocast and {part} without")
        half.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        is_finite = all(g.isfinite().all() for g in _gradients(case.student))
        require(is_finite, "a gradient is not finite in bf16")


def check_float64(case: MethodCase) -> None:
    """The loss of float64 outputs is in float64."""
    with case.in_float64() as make_auxiliary:
        mine, theirs = case.outputs(6, torch.float64)
        dtype = case.method.loss(case.step(0.5, mine, theirs, make_auxiliary())).total.dtype
    require(dtype == torch.float64, f"the loss of float64 outputs is {dtype}")


def check_no_wait(case: MethodCase) -> None:
    """Nothing in a step waits for the device: no `.item()` and no branch on a value."""
    extra = case.auxiliary()
    needs = case.method.teacher_needs()
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:  # its tensors have no values
        images, labels = fake.from_tensor(example_images(6)), fake.from_tensor(example_labels(6))
        for progress in PROGRESS:
            mine = case.student(images, case.method.student_maps())
            theirs = teacher_outputs(case.teacher, images, needs.maps)
            step = replace(
                case.context(progress).step(mine, theirs, labels, labels, extra), input_images=images
            )
            try:
                total = case.method.loss(step).total
                total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                with torch.no_grad():
                    case.method.update(step)
            except RuntimeError as error:
                raise AssertionError(f"a step waits for a value: {error}") from error
            require(isinstance(total, FakeTensor), "the loss does not depend on the outputs")


def check_randomness(case: MethodCase) -> None:
    """Loss, start and diagnostics leave torch's global generator alone."""
    extra = case.auxiliary()
    mine, theirs = case.outputs(6)
    before = torch.get_rng_state()
    case.method.loss(case.step(0.5, mine, theirs, extra))
    case.method.start(case.step(0.5, mine, theirs, extra))
    case.method.diagnose(case.step(0.5, mine.detach(), theirs, extra))
    require(torch.equal(before, torch.get_rng_state()), "it draws from torch's global generator")


def check_descent(case: MethodCase) -> None:
    """25 steps of Adam lower the loss."""
    extra = case.auxiliary()
    state = {name: value.clone() for name, value in case.student.state_dict().items()}
    trained = [*case.student.parameters(), *(extra.parameters() if extra is not None else ())]
    optimizer, totals = torch.optim.Adam(trained, lr=1e-2), []
    for _ in range(25):
        total = case.loss(24, 0.0, extra).total
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        totals.append(float(total.detach()))
    case.student.load_state_dict(state)
    require(totals[-1] < 0.95 * totals[0], f"training lowers the loss from {totals[0]:g} to {totals[-1]:g}")


def check_metrics(case: MethodCase) -> None:
    """Metrics are finite numbers under names of their own; warnings are lines that do not vary."""
    names: set[str] = set()
    for samples in (1, 2, 24):
        for factor in (0.0, 1.0, 1e4, math.nan):
            mine, theirs = case.outputs(samples)
            maps = {name: value * factor for name, value in mine.maps.items()}
            scaled = Outputs(mine.logits, mine.embedding * factor, maps)
            metrics = case.method.start(case.step(0.0, mine, theirs, case.auxiliary()))
            with torch.no_grad():
                metrics |= case.method.diagnose(case.step(0.0, scaled, theirs, case.auxiliary()))
            for name, value in metrics.items():
                is_finite = type(value) is float and math.isfinite(value)
                require(is_finite, f"metric {name} is {value!r}, no finite float")
                require(name not in RESERVED and not name.startswith("train_"), f"metric {name} is taken")
            names |= metrics.keys()
            lines = case.method.warnings(metrics, batch_size=samples, classes=CLASSES)
            require(all(line.strip() == line and "\n" not in line for line in lines), "a warning is no line")
            moved = {name: value * 1.0001 for name, value in metrics.items()}
            again = case.method.warnings(moved, batch_size=samples, classes=CLASSES)
            require(again == lines, "a warning holds a number that varies from epoch to epoch")
    require(case.method.warnings({}, batch_size=10**6, classes=CLASSES) == (), "it warns without metrics")
    unknown = [one.name for one in case.method.diagnostics if one.name not in names]
    require(not unknown, f"diagnostics {unknown} are declared, but start and diagnose do not return them")


def check_start(case: MethodCase) -> None:
    """`start` leaves gradients alone and keeps the graph for the step that follows."""
    extra = case.auxiliary()
    mine, theirs = case.outputs(6)
    case.method.start(case.step(0.0, mine, theirs, extra))
    require(not _gradients(case.student), "start leaves gradients in the student")
    case.method.loss(case.step(0.0, mine, theirs, extra)).total.backward()  # type: ignore[no-untyped-call]


CHECKS: dict[str, Callable[[MethodCase], None]] = {
    "declaration": check_declaration,
    "gradients": check_gradients,
    "needs": check_needs,
    "weights": check_weights,
    "missing teacher": check_missing_teacher,
    "bf16": check_bf16,
    "float64": check_float64,
    "no wait": check_no_wait,
    "randomness": check_randomness,
    "descent": check_descent,
    "metrics": check_metrics,
    "start": check_start,
    **batch_checks.CHECKS,
}
"""Every check by name."""
