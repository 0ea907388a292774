"""Images of a CE + KD + LP trial per CPU-second, against two other ways to run it.

    python benchmarks/peer.py --student fitnet1 [--json FILE]

The others run the teacher at each step, in float32: a plain PyTorch loop, and torchdistill (its box, its KD
loss, its optimizer; the extra `bench`). Each once as its users have it, with images loaded one by one by PIL,
and once with ready-made batches, which cost nothing. The headline is the plain loop with PIL.

lpstudy is its own loop, `lpstudy.training.trainer.Trainer`, what it does once an epoch included, with the
teacher's outputs from a bank on disk. First the gate: one update of each side agrees with lpstudy's, from a
float32 bank, to 1e-3.

Ratios are of CPU time for the same images, above 1 where lpstudy is faster:
    warm_fp32, warm_bf16   training steps, the bank filled before
    trial_*                the same with an evaluation of a fourth as many images, on both sides
    filled_*               one trial that fills the bank itself, each of its views used once
    sweep4, sweep16        so many trials on one bank, its filling included, every epoch a view of its own,
                           evaluations too; 4 are run, 16 follow from what they took
    lp_share               LP's part of a warm step
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch
from banking import make_bank, own_cache
from boxed import BoxLoop, ReadyBatches, installed
from gate import changes, copies, first_agreement, gate_batch, gate_data, one_update
from measuring import agree, bf16_hardware, cpu_seconds, interleaved, median, medians, one_thread, show, write
from plain import Pair, PlainLoop, PlainNet, backward, correct, pil_batches, pil_images
from workload import (
    BATCH,
    CPU,
    METHOD,
    STUDENTS,
    TEACHER_SEED,
    Images,
    command,
    graph_source,
    load_images,
    make_data,
    network,
    trial,
)

from lpstudy.data import Data, Order
from lpstudy.methods.graph import affinities, laplacian
from lpstudy.methods.lp import laplacian_loss
from lpstudy.space import Precision, RunSpec
from lpstudy.teacher import Bank
from lpstudy.training import evaluate, train
from lpstudy.training.trainer import Trainer

TRIALS = 4
"""Trials of the sweep that is run."""
MANY = 50
"""Calls of the LP term in one timed call."""
HEADLINE = "plain loop, PIL"
GOALS = {
    "fitnet1": {"warm_bf16": 10.0, "warm_fp32": 6.0, "sweep16": 8.0},
    "fitnet2": {"warm_bf16": 5.0, "warm_fp32": 2.5, "sweep16": 5.0},
}
"""Ratios to the headline, on hardware with bfloat16."""
LP_SHARE = 0.5
"""Percent of a warm step, at most."""


Loops = dict[str, PlainLoop | BoxLoop]


def nets(student: str) -> tuple[PlainNet, PlainNet]:
    """Student and teacher of the other sides, with the weights that lpstudy starts from."""
    return PlainNet(network(student)), PlainNet(network("teacher", seed=TEACHER_SEED))


def others(student: str, images: Images, ready: list[Pair]) -> Loops:
    """The other sides by name; torchdistill's only where it is installed."""
    count = len(images.labels)
    loops: Loops = {
        HEADLINE: PlainLoop(*nets(student), pil_batches(images, count)),
        "plain loop, ready batches": PlainLoop(*nets(student), cycle(ready)),
    }
    if installed():
        loops["torchdistill, PIL"] = BoxLoop(*nets(student), pil_images(images, count))
        loops["torchdistill, ready batches"] = BoxLoop(*nets(student), ReadyBatches(ready))
    return loops


def check(student: str, images: Images) -> dict[str, float]:
    """The gate: the relative difference of each other side's first update from lpstudy's, by name.

    Raises:
        DisagreementError: One is above 1e-3.
    """
    ready = [gate_batch(images)]
    learns, teaches = (net.double() for net in nets(student))
    loops: Loops = {"plain loop": PlainLoop(learns, teaches, cycle(ready))}
    if installed():
        learns, teaches = (net.double() for net in nets(student))
        loops["torchdistill"] = BoxLoop(learns, teaches, ReadyBatches(ready))
    with own_cache():
        lpstudy_update = one_update(images, student, make_bank(gate_data(images), dtype="fp32"))
    agreements = {}
    for name, loop in loops.items():
        before = copies(loop.student.parameters())
        loop.step()
        what = f"the update of {student} by the {name}"
        agreements[name] = agree(what, lpstudy_update, changes(before, loop.student.parameters()))
    return agreements


@dataclass(frozen=True, slots=True)
class Warm:
    """lpstudy's side with a complete bank."""

    run: Trainer
    steps: int
    """Steps of a call of `train`."""

    def train(self) -> None:
        """Run some steps of the second epoch and the loop's work at an epoch's end."""
        self.run.steps(2, self.steps)

    def evaluate(self) -> None:
        """Evaluate the validation images."""
        learner = self.run.learner
        evaluate(learner.student, self.run.data.validation, bf16=learner.bf16)


def warm(student: str, data: Data, bank: Bank, precision: Precision, steps: int) -> Warm:
    """A run after its first epoch, with warm caches."""
    return Warm(Trainer(trial(student, epochs=2, precision=precision), data, bank, CPU), steps)


def lp_term(bank: Bank, data: Data) -> Callable[[], None]:
    """LP's forward and backward alone, many times, on a batch's embedding."""
    batch = next(data.train.epoch(Order(0, 1, BATCH), device=CPU))
    embedding = bank.outputs(batch, METHOD.teacher_needs()).embedding
    leaf = torch.randn_like(embedding).requires_grad_()

    def calls() -> None:
        for _ in range(MANY):
            graph, bandwidth = METHOD.graph_of(graph_source(embedding))
            backward(laplacian_loss(leaf, laplacian(graph, affinities(graph, bandwidth))))

    return calls


@dataclass(frozen=True, slots=True)
class Times:
    """CPU seconds, each the median of the rounds."""

    step: dict[str, float]
    """Training step of each other side, per batch."""
    beside: float
    """Step of the headline's side, per batch, in turn with a sweep's runs."""
    other_evaluation: float
    """Evaluation by the plain loop's network, per image."""
    lpstudy: dict[str, float]
    """Training step of lpstudy, per image, by precision."""
    evaluation: dict[str, float]
    """Evaluation by lpstudy, per image, by precision."""
    filling: float
    """Computation of the bank, per image and view."""
    trials: list[float]
    """Trials of the sweep, per image."""
    lp: float
    """The LP term, per batch."""


def measure(student: str, images: Images, *, steps: int, rounds: int) -> Times:
    """Everything, with a bank in a cache of its own; trained on `steps` batches, validated on a fourth."""
    hardware = bf16_hardware()
    best: Precision = "bf16" if hardware else "fp32"
    data = make_data(images, train=steps * BATCH).with_views(1)
    validation = len(data.validation)
    batches = data.train.epoch(Order(0, 1, BATCH), device=CPU)
    loops = others(student, images, [(batch.images, batch.labels) for batch in batches])
    student_net = loops[HEADLINE].student
    looked_at = next(data.validation.batches(batch_size=validation, device=CPU))
    loops[HEADLINE].step()  # so that it is warm
    fillings, trials, beside = [], [], []
    for _ in range(rounds):
        with own_cache():
            fillings.append(cpu_seconds(lambda: make_bank(data, bf16=hardware)))
        beside.append(cpu_seconds(loops[HEADLINE].step))
    with own_cache():
        bank = make_bank(data, bf16=hardware)
        runs = {"fp32": warm(student, data, bank, "fp32", steps)}
        runs["bf16"] = warm(student, data, bank, "bf16", steps if hardware else 1)
        sides: dict[str, Callable[[], object]] = {name: loop.step for name, loop in loops.items()}
        sides["evaluation"] = lambda: correct(student_net, looked_at.images, looked_at.labels)
        sides["lp"] = lp_term(bank, data)
        emulated: dict[str, Callable[[], object]] = {}
        for name, one in runs.items():
            of = emulated if name == "bf16" and not hardware else sides
            of |= {name: one.train, f"{name} evaluation": one.evaluate}
        seconds = medians(interleaved(sides, rounds))
        if emulated:
            seconds |= medians(interleaved(emulated, 1))
        for seed in range(TRIALS):
            of_sweep = trial(student, epochs=1, seed=seed, precision=best)
            trials.append(cpu_seconds(_run_of(of_sweep, data, bank)))
            beside.append(cpu_seconds(loops[HEADLINE].step))
    return Times(
        step={name: seconds[name] for name in loops},
        beside=median(beside),
        other_evaluation=seconds["evaluation"] / validation,
        lpstudy={name: seconds[name] / (one.steps * BATCH) for name, one in runs.items()},
        evaluation={name: seconds[f"{name} evaluation"] / validation for name in runs},
        filling=median(fillings) / len(data.train),
        trials=[value / len(data.train) for value in trials],
        lp=seconds["lp"] / MANY,
    )


def _run_of(one: RunSpec, data: Data, bank: Bank) -> Callable[[], object]:
    """A whole trial of the sweep."""
    return lambda: list(train(one, data, bank, device=CPU))


def ratios(times: Times, side: str) -> dict[str, float]:
    """The ratios to another side: see the head of this file."""
    step = times.step[side] / BATCH
    whole = step + times.other_evaluation / 4
    ratios = {}
    for precision, seconds in times.lpstudy.items():
        of_trial = seconds + times.evaluation[precision] / 4
        ratios[f"warm_{precision}"] = step / seconds
        ratios[f"trial_{precision}"] = whole / of_trial
        ratios[f"filled_{precision}"] = whole / (of_trial + times.filling)
    then = times.beside / times.step[HEADLINE]  # the machine's speed while the sweep ran, over that before
    for trials in (TRIALS, 16):
        sweep_seconds = times.filling + trials * sum(times.trials) / TRIALS
        ratios[f"sweep{trials}"] = trials * whole * then / sweep_seconds
    return ratios


def report(student: str, images: Images, times: Times, agreement: dict[str, float]) -> dict[str, Any]:
    """Print the tables; what the JSON file holds."""
    hardware = bf16_hardware()
    against = {side: ratios(times, side) for side in times.step}
    speeds = {side: BATCH / value for side, value in times.step.items()}
    speeds |= {f"lpstudy {precision}, bank warm": 1 / value for precision, value in times.lpstudy.items()}
    rates = [{"side": name, "images/s": value} for name, value in speeds.items()]
    show(f"{student}, images per CPU-second in training ({images.source})", rates)
    columns = ("warm_fp32", "warm_bf16", "trial_fp32", "trial_bf16", f"sweep{TRIALS}", "sweep16")
    lines = [{"side": side} | {name: ratios[name] for name in columns} for side, ratios in against.items()]
    show("lpstudy as a multiple of", lines)
    lp = {f"lp_share_{name}": times.lp / (BATCH * value) for name, value in times.lpstudy.items()}
    share = lp["lp_share_bf16" if hardware else "lp_share_fp32"]
    print(f"\nLP {1e3 * times.lp:.2f} ms a batch, {100 * share:.2f} % of a warm step")
    print(f"bank: {1e3 * times.filling:.2f} CPU ms an image and view")
    print(f"sweeps in {'bf16' if hardware else 'fp32'}")
    if not hardware:
        print("this processor has no bf16: it is emulated; these figures say nothing of one that has it")
    reached = against[HEADLINE] | {"lp_share": 100 * share}
    goals = GOALS.get(student, {}) | {"lp_share": LP_SHARE}
    for name, goal in goals.items():
        bound = "at most" if name == "lp_share" else "at least"
        print(f"goal {name}: {bound} {goal:g}, here {reached[name]:.2f}")
    if not installed():
        print("torchdistill is not installed: pip install '.[bench]'")
    return {
        "student": student,
        "data": images.source,
        "headline": HEADLINE,
        **against[HEADLINE],
        "lp_share": share,
        **lp,
        "bf16_emulated": not hardware,
        "sweep_precision": "bf16" if hardware else "fp32",
        "against": against,
        "images_per_cpu_second": speeds,
        "filling_ms": 1e3 * times.filling,
        "agreement": agreement,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Check, measure, print and write."""
    parser = command(__doc__)
    parser.add_argument("--student", choices=STUDENTS, default="fitnet1")
    parser.add_argument("--steps", type=int, default=4, help="batches of an epoch of lpstudy")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds")
    options = parser.parse_args(arguments)
    one_thread()
    torch.manual_seed(0)  # of the others' shuffling and views
    images = load_images(options.data_root, options.steps * BATCH * 5 // 4)
    agreement = first_agreement(lambda some: check(options.student, some), images)
    times = measure(options.student, images, steps=options.steps, rounds=options.rounds)
    results = report(options.student, images, times, agreement)
    if options.json:
        write(options.json, results)


if __name__ == "__main__":
    main()
