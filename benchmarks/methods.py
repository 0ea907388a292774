"""The CPU time of a training step of every method, as a multiple of plain back-prop's; and of the losses.

    python benchmarks/methods.py [--students fitnet1 resnet20] [--precisions fp32 bf16] [--json FILE]

Batch 128, one thread, SGD with momentum. A step is lpstudy's own: the teacher's outputs from a bank, forward,
loss, backward, update; the images are there. The bank holds random numbers of the right shapes, for the cost
does not depend on them. The methods take turns, step by step. Every weight has its full value; FitNet has all
terms at once.

Then every loss that torchdistill 1.1.5 (the extra `bench`) or a plain form has as well: forward and backward
on random features of the networks' sizes. First the gate: both have the same value and gradient to 1e-3.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import torch
from loss_forms import FEATURES, LOGITS, MAPS, ONE_SIZE, Form, Pair, pairs
from measuring import agree, interleaved, medians, one_thread, show, write
from torch import Tensor
from workload import BATCH, CLASSES, CPU, SHAPE, TEACHER_SEED, command, load_images, make_data

from lpstudy.cost import cost_of
from lpstudy.data import Data, Order
from lpstudy.methods import METHODS, Distillation, Needs, StepContext
from lpstudy.methods.lp_graphs import GraphName
from lpstudy.methods.reductions import teacher_outputs
from lpstudy.outputs import Network
from lpstudy.space import Precision, RunSpec, Training
from lpstudy.students import ReusedHead, StudentSpec, build
from lpstudy.teacher import Bank, OnlineTeacher
from lpstudy.training.teacher_outputs import classifier_for
from lpstudy.training.trainer import Trainer

STUDENTS: Mapping[str, tuple[StudentSpec, StudentSpec]] = {
    "fitnet1": (
        StudentSpec(family="maxout", design="fitnet1"),
        StudentSpec(family="maxout", design="teacher"),
    ),
    "resnet20": (
        StudentSpec(family="resnet", depth=20, width=1),
        StudentSpec(family="resnet", depth=56, width=1),
    ),
}
"""Students with their teachers by name."""
CASES: dict[str, dict[str, object]] = {
    **{name: {"method": name} for name in METHODS},
    "bp again": {"method": "bp"},  # how far apart two measurements of one thing are
    "fitnet": {"method": "fitnet", "mode": "joint"},
    "kd standardised": {"method": "kd", "standardize": True},
    "lp_kd": {"method": "lp", "kd_weight": 1.0},
    **{f"lp {graph}": {"method": "lp", "graph": graph} for graph in get_args(GraphName)[1:]},
}
"""Hyperparameters by the name of a line."""
EPOCH, EPOCHS = 9, 10
"""The epoch whose weights the terms have: every ramp and warm-up is over."""
_MAP, _HINT = (64, 8, 8), (192, 8, 8)
SIZES: dict[str, dict[str, tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "fitnet1": {FEATURES: ((500,), (500,)), MAPS: ((64, 1, 1), (192, 3, 3)), ONE_SIZE: (_MAP, _HINT)},
    "resnet20": {FEATURES: ((64,), (64,)), MAPS: (_MAP, _MAP), ONE_SIZE: (_MAP, _MAP)},
}
"""The shapes of what a loss gets of student and teacher: of maps, their last ones, or two of one size."""
MANY = 20
"""Calls of a loss in one timed call."""


def run_spec(student: str, values: Mapping[str, object], how: Precision) -> RunSpec:
    """A run as `lpstudy.training.train` takes it."""
    spec, teacher = STUDENTS[student]
    if METHODS[str(values["method"])].reuses_classifier:
        network = teacher.model_dump(include={"family", "design", "depth", "width"})
        spec = spec.model_copy(update={"head": ReusedHead(**network)})
    training = Training(
        batch_size=BATCH, optimizer="sgd", learning_rate=1e-6, schedule="constant", precision=how
    )
    values = {"student": spec, "method": values, "training": training, "epochs": EPOCHS, "seed": 0}
    return RunSpec.model_validate(values)


def random_bank(network: Network, macs: int, needs: Needs, samples: int) -> Bank:
    """What a method reads of a teacher, for one view: random, in fp16, in memory."""
    with torch.no_grad():
        outputs = teacher_outputs(network, torch.zeros(1, *SHAPE), needs.maps)
    shapes = {"logits": outputs.logits, "embedding": outputs.embedding}
    shapes |= {f"map.{name}": value for name, value in outputs.maps.items()}
    generator = torch.Generator().manual_seed(0)
    stored = {
        name: torch.rand(1, samples, *value.shape[1:], generator=generator).half()
        for name, value in shapes.items()
    }
    bank = Bank(stored, network, macs, None, CPU)
    bank.classifier = OnlineTeacher(network, macs).classifier
    return bank


def step_of(student: str, values: Mapping[str, object], data: Data, how: Precision) -> Callable[[], object]:
    """One training step of a method.

    Raises:
        ValueError: The method does not fit the networks.
    """
    run, (_, teacher) = run_spec(student, values, how), STUDENTS[student]
    network = build(teacher, input_shape=SHAPE, classes=CLASSES, seed=TEACHER_SEED).eval()
    macs = cost_of(teacher, input_shape=SHAPE, classes=CLASSES).macs
    needs = _resolved(run, network).teacher_needs()
    trainer = Trainer(run, data, random_bank(network, macs, needs, len(data.train)), CPU)
    weights = trainer.method.weights_in(EPOCH, EPOCHS)
    classifier = classifier_for(trainer.method, trainer.teacher)
    context = StepContext(
        weights, lambda rows: rows, CLASSES, trainer.method.ce_weight, classifier=classifier
    )
    batch = next(trainer.data.train.epoch(Order(0, 1, BATCH), device=CPU))
    needs = trainer.method.needs_of(trainer.needs, weights)

    def step() -> None:
        target = None if trainer.teacher is None else trainer.teacher.outputs(batch, needs)
        trainer.step(batch, target, context)

    trainer.learner.student.train()
    return step


def _resolved(run: RunSpec, teacher: Network) -> Distillation:
    return run.method.resolved(build(run.student, input_shape=SHAPE, classes=CLASSES), teacher)


def measured_steps(
    student: str, names: Sequence[str], data: Data, how: Precision, rounds: int
) -> tuple[dict[str, float], dict[str, str]]:
    """CPU milliseconds of a step by name, and why the others cannot be run."""
    steps: dict[str, Callable[[], object]] = {}
    refusals: dict[str, str] = {}
    for name in dict.fromkeys(["bp", *names]):
        try:
            steps[name] = step_of(student, CASES[name], data, how)
        except ValueError as error:
            refusals[name] = str(error)
    seconds = medians(in_turn(steps, rounds))
    return {name: 1e3 * value for name, value in seconds.items()}, refusals


def in_turn(steps: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each step in each round; a round begins with another one, so that no place is worse."""
    names = list(steps)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number * len(names) // rounds
        order = {name: steps[name] for name in names[first:] + names[:first]}
        for name, values in interleaved(order, 1, warm=number > 0).items():
            seconds[name] += values
    return seconds


def loss_inputs(kind: str, student: str) -> tuple[Tensor, Tensor]:
    """The student's and the teacher's random inputs of a loss."""
    shapes = {LOGITS: ((CLASSES,), (CLASSES,)), **SIZES[student]}[kind]
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(BATCH, *shape, generator=generator) for shape in shapes)
    return one, other


def with_gradient(
    form: Callable[[Tensor, Tensor], Tensor], one: Tensor, other: Tensor
) -> tuple[Tensor, Tensor]:
    """A loss and its gradient with respect to the student's input."""
    leaf = one.clone().requires_grad_()
    value = form(leaf, other)
    return value, torch.autograd.grad(value, leaf)[0]


def measured_losses(student: str, rounds: int) -> list[dict[str, Any]]:
    """The gate and CPU milliseconds of each loss and of its counterpart.

    Raises:
        DisagreementError: They have another value or gradient.
    """
    lines = []
    for name, pair in pairs().items():
        one, other = loss_inputs(pair.inputs, student)
        both = [with_gradient(form, one, other) for form in (pair.lpstudy, pair.other)]
        for what, mine, theirs in zip(("value", "gradient"), *both, strict=True):
            agree(f"the {what} of {name}, {student}", [mine], [theirs])
        lines.append(_timed(name, pair, one, other, rounds))
    return lines


def _timed(name: str, pair: Pair, one: Tensor, other: Tensor, rounds: int) -> dict[str, Any]:
    def many(form: Form) -> Callable[[], object]:
        return lambda: [with_gradient(form, one, other) for _ in range(MANY)]

    sides = {"lpstudy": many(pair.lpstudy), "other": many(pair.other)}
    ms = {side: 1e3 * value / MANY for side, value in medians(interleaved(sides, rounds)).items()}
    return {
        "loss": name,
        "lpstudy ms": ms["lpstudy"],
        "other ms": ms["other"],
        "other / lpstudy": ms["other"] / ms["lpstudy"],
        "other is": pair.source,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = command(__doc__)
    parser.add_argument("--students", nargs="+", choices=STUDENTS, default=list(STUDENTS))
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"), default=["fp32"])
    parser.add_argument("--methods", nargs="+", choices=CASES, default=list(CASES), metavar="METHOD")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds")
    options = parser.parse_args(arguments)
    one_thread()
    images = load_images(options.data_root, BATCH)
    data = make_data(images, train=BATCH).with_views(1)
    results: dict[str, Any] = {"data": images.source, "batch": BATCH, "steps": {}, "losses": {}}
    for student in options.students:
        columns: dict[str, dict[str, float]] = {}
        for how in options.precisions:
            columns[how], refusals = measured_steps(student, options.methods, data, how, options.rounds)
        results["steps"][student] = {"ms": columns, "refused": refusals}
        lines = []
        for name in columns[options.precisions[0]]:
            line: dict[str, object] = {"method": name}
            for how, ms in columns.items():
                line |= {f"{how} ms": ms[name], f"{how} x bp": ms[name] / ms["bp"]}
            lines.append(line)
        show(f"{student}, CPU ms of a step of {BATCH} images ({images.source})", lines)
        for name, words in refusals.items():
            print(f"{name}: {words}")
        results["losses"][student] = measured_losses(student, options.rounds)
        show(f"losses on {student}'s features, CPU ms forward and backward", results["losses"][student])
    if options.json:
        write(options.json, results)


if __name__ == "__main__":
    main()
