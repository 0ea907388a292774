"""The CPU time of one training step by part, for FitNet 1 to 4: naive, and in lpstudy.

    python benchmarks/step.py [--students fitnet1 ...] [--json FILE]

Batch 128, one thread. The naive step loads images one by one with PIL and torchvision, runs the teacher, has
maxout by `torch.maximum`, gathers LP's neighbours and uses torch's default SGD. First the gate: one update of
the naive step and one of lpstudy's agree to 1e-3 in float32. The evaluation is of a fourth as many images as
are trained on, 10,000 to 40,000 in FitNets. FitNet's regressor is no part of this CE + KD + LP step.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from banking import NEEDS, make_bank, own_cache
from gate import changes, copies, first_agreement, gate_batch, one_update
from measuring import agree, bf16_hardware, interleaved, medians, one_thread, show, write
from plain import PlainLoop, PlainNet, backward, kd_term, lp_term, pil_batches
from torch import optim
from torch.nn import functional
from workload import (
    BATCH,
    CPU,
    LEARNING_RATE,
    METHOD,
    STUDENTS,
    TEACHER_SEED,
    Images,
    command,
    graph_source,
    load_images,
    make_data,
    network,
    teacher,
    trial,
)

from lpstudy.data import Data, Order
from lpstudy.methods.fitnet import Regressor, hint_loss
from lpstudy.methods.graph import affinities, laplacian
from lpstudy.methods.lp import laplacian_loss
from lpstudy.methods.soft_targets import kd_loss
from lpstudy.space import Precision
from lpstudy.teacher import Bank
from lpstudy.training import evaluate
from lpstudy.training.trainer import Trainer

VALIDATION = BATCH // 4
"""Validation images for each batch of training images."""
MANY = 20
"""Calls in one timed call of a part that takes about a millisecond or less."""
BRIEF = (
    "fp32 data",
    "fp32 teacher",
    "naive lp",
    "fp32 lp",
    "naive kd",
    "fp32 kd",
    "naive update",
    "fp32 update",
)
PARTS = ("data", "teacher", "student", "lp", "kd", "update", "evaluation")

LONG = ("fitnet3", "fitnet4")
"""Students of which one timed round must do, and none before it: their first takes as long as the next."""

Call = Callable[[], object]
Sides = dict[str, Call]


def shared_sides(images: Images, data: Data, bank: Bank, precisions: Sequence[Precision]) -> Sides:
    """The parts with the same cost for every student: data, teacher, the terms of the loss."""
    by_pil = pil_batches(images, len(data.train))
    epochs = (data.train.epoch(Order(0, epoch, BATCH), device=CPU) for epoch in itertools.count(1))
    in_memory = itertools.chain.from_iterable(epochs)
    batch = next(in_memory)
    plain = PlainNet(network("teacher", seed=TEACHER_SEED))
    online = {precision: teacher(bf16=precision == "bf16") for precision in precisions}
    outputs = online["fp32"].outputs(batch, NEEDS)
    logits, embedding = outputs.logits, outputs.embedding
    of_kd, of_lp = (torch.randn_like(tensor).requires_grad_() for tensor in (logits, embedding))

    def teach() -> None:
        with torch.no_grad():
            plain.both(batch.images)

    def lp() -> None:
        graph, bandwidth = METHOD.graph_of(graph_source(embedding))
        backward(laplacian_loss(of_lp, laplacian(graph, affinities(graph, bandwidth))))

    filling: Sides = {
        f"{precision} filling": partial(runs.outputs, batch, NEEDS) for precision, runs in online.items()
    }
    return filling | {
        "naive data": lambda: next(by_pil),
        "fp32 data": lambda: next(in_memory),
        "naive teacher": teach,
        "fp32 teacher": lambda: bank.outputs(batch, NEEDS),
        "naive lp": lambda: backward(lp_term(of_lp, embedding, METHOD.n_neighbors)),
        "fp32 lp": lp,
        "naive kd": lambda: backward(kd_term(of_kd, logits, METHOD.kd_temperature)),
        "fp32 kd": lambda: backward(kd_loss(of_kd, logits, temperature=METHOD.kd_temperature)),
    }


def student_sides(data: Data, bank: Bank, student: str, precisions: Sequence[Precision]) -> Sides:
    """The parts that the student determines: forward and backward, update, evaluation, FitNet's regressor."""
    plain = PlainNet(network(student))
    sgd = optim.SGD(plain.parameters(), lr=LEARNING_RATE, momentum=0.9, nesterov=True)
    batch = next(data.train.epoch(Order(0, 1, BATCH), device=CPU))
    validation = next(data.validation.batches(batch_size=VALIDATION, device=CPU))

    def naive() -> None:
        sgd.zero_grad()
        backward(functional.cross_entropy(plain(batch.images), batch.labels))

    def look() -> None:
        with torch.no_grad():
            plain(validation.images)

    sides: Sides = {"naive student": naive, "naive update": sgd.step, "naive evaluation": look}
    for precision in precisions:
        sides |= lpstudy_sides(data, bank, student, precision)
    return sides | {"regressor": _regressor(student)}


def lpstudy_sides(data: Data, bank: Bank, student: str, precision: Precision) -> Sides:
    """The student's parts in lpstudy."""
    learner = Trainer(trial(student, epochs=1, precision=precision), data, bank, CPU).learner
    batch = next(data.train.epoch(Order(0, 1, BATCH), device=CPU))

    def forward_backward() -> None:
        learner.optimizer.zero_grad(set_to_none=True)
        backward(functional.cross_entropy(learner.forward(batch).logits.float(), batch.labels))

    def look() -> None:
        evaluate(learner.student, data.validation, bf16=learner.bf16)

    sides: Sides = {f"{precision} student": forward_backward, f"{precision} evaluation": look}
    return sides | {f"{precision} update": learner.optimizer.step} if precision == "fp32" else sides


def _regressor(student: str) -> Call:
    """FitNet's convolution from the guided map to the hint, its loss and their gradients."""
    one, other = _map_shape(student), _map_shape("teacher")
    regressor = Regressor(one, other)
    guided, hint = torch.randn(BATCH, *one, requires_grad=True), torch.randn(BATCH, *other)
    return lambda: backward(hint_loss(regressor(guided), hint))


def _map_shape(name: str) -> tuple[int, int, int]:
    built = network(name)
    with torch.no_grad():
        hidden_map = built(torch.zeros(1, 3, 32, 32), (built.middle,)).maps[built.middle]
    return hidden_map.shape[1], hidden_map.shape[2], hidden_map.shape[3]


def timed(sides: Mapping[str, Call], rounds: int, *, warm: bool) -> dict[str, float]:
    """CPU milliseconds of a call of each side; the brief ones are called many times at once."""

    def many(call: Call) -> Call:
        return lambda: [call() for _ in range(MANY)]

    calls = {name: many(call) if name in BRIEF else call for name, call in sides.items()}
    seconds = medians(interleaved(calls, rounds, warm=warm))
    return {name: 1e3 * value / (MANY if name in BRIEF else 1) for name, value in seconds.items()}


def table(ms: Mapping[str, float], precisions: Sequence[Precision]) -> list[dict[str, object]]:
    """A line a part with its share of the naive step; their sums; what is outside the step."""
    lpstudy = {  # of what bf16 does not change there is one figure
        precision: {part: ms.get(f"{precision} {part}", ms.get(f"fp32 {part}", 0.0)) for part in PARTS}
        for precision in precisions
    }
    naive = {part: ms[f"naive {part}"] for part in PARTS}
    whole = sum(naive.values())
    lines: list[dict[str, object]] = []
    for part in PARTS:
        line: dict[str, object] = {
            "part": part,
            "naive ms": naive[part],
            "share %": 100 * naive[part] / whole,
        }
        lines.append(line | {f"{precision} ms": lpstudy[precision][part] for precision in precisions})
    lines.append({"part": "step", "naive ms": whole, "share %": 100.0})
    lines[-1] |= {f"{precision} ms": sum(lpstudy[precision].values()) for precision in precisions}
    filling = {f"{precision} ms": ms[f"{precision} filling"] for precision in precisions}
    lines.append({"part": "(teacher, to fill the bank)", **filling})
    lines.append({"part": "(FitNet's regressor)", "fp32 ms": ms["regressor"]})
    return lines


def check(images: Images, student: str) -> float:
    """The gate: the relative difference between the updates of the naive step and of lpstudy's.

    Raises:
        DisagreementError: It is above 1e-3.
    """
    teaches = PlainNet(network("teacher", seed=TEACHER_SEED)).double()
    learns = PlainNet(network(student)).double()
    naive = PlainLoop(learns, teaches, itertools.repeat(gate_batch(images)))
    before = copies(naive.student.parameters())
    naive.step()
    update = changes(before, naive.student.parameters())
    return agree(f"the naive update of {student}", one_update(images, student), update)


def main(arguments: Sequence[str] | None = None) -> None:
    """Check, measure, print and write."""
    parser = command(__doc__)
    parser.add_argument("--students", nargs="+", choices=STUDENTS, default=STUDENTS)
    parser.add_argument("--rounds", type=int, default=2, help="timed rounds; the long students have one")
    options = parser.parse_args(arguments)
    one_thread()
    torch.manual_seed(0)  # of the naive side's shuffling and views
    images = load_images(options.data_root, BATCH + VALIDATION)
    data = make_data(images, train=BATCH).with_views(1)
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if bf16_hardware() else ("fp32",)
    results: dict[str, object] = {"data": images.source, "precisions": precisions}
    common: dict[str, float] = {}
    with own_cache():
        bank = make_bank(data)
        for student in options.students:
            agreement = first_agreement(partial(check, student=student), images)
            of_student = student_sides(data, bank, student, precisions)
            sides = of_student if common else of_student | shared_sides(images, data, bank, precisions)
            long = student in LONG
            ms = timed(sides, 1 if long else options.rounds, warm=long and bool(common))
            common = common or {name: value for name, value in ms.items() if name not in of_student}
            lines = table(common | ms, precisions)
            show(f"{student}, CPU ms of a batch of {BATCH} ({images.source})", lines)
            results[student] = {"parts": lines, "agreement": agreement}
    if "bf16" not in precisions:
        print("\nthis processor has no bf16; peer.py measures it emulated")
    if options.json:
        write(options.json, results)


if __name__ == "__main__":
    main()
