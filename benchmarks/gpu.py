"""The cost of a training step on a GPU, alone and with packed trials, against the card's limits.

    python benchmarks/gpu.py [--student fitnet1] [--json FILE]

Needs torch, NumPy, pydantic and this package's core; exits with 2 where there is no GPU. Data, a bank of one
view and the student are on the GPU; a step is a recorded CUDA graph. First the gate: one update of a plain
loop that runs the teacher and one of lpstudy's agree to 1e-3 in float32 without TF32. Where they do not, as
cuDNN's float32 may be too coarse for, that is said, all is measured none the less, and the exit code is 1.
Times are wall times, medians; those of the plain loop in torch's own float32, whose convolutions are in TF32.

A step's cost is the difference between many steps and half as many; what is left is the end of an epoch, with
its diagnostics. FLOPs are 6 x MACs of the student's forward pass an image; bytes are what a step's operators
read and write, each tensor once an operator, so that a fused kernel moves fewer.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from banking import NEEDS, make_bank_in_memory
from gate import changes, copies, first_agreement, gate_batch, one_update
from measuring import DisagreementError, agree, show, write
from packing import Workload, best, in_processes, on_streams, runner, two
from plain import Pair, PlainLoop, PlainNet
from timing import seconds
from watching import Traffic
from workload import (
    BATCH,
    CLASSES,
    METHOD,
    SHAPE,
    STUDENTS,
    TEACHER_SEED,
    Images,
    command,
    load_images,
    make_data,
    network,
    student_spec,
)

from lpstudy.cost import cost_of
from lpstudy.data import Data, Order
from lpstudy.methods import StepContext
from lpstudy.teacher import Bank
from lpstudy.training.trainer import Trainer

LIMITS = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12), "A100": (312e12, 2.0e12)}
"""FLOP/s in dense bfloat16 and bytes/s of the SXM cards, from their data sheets."""
ROUNDS = 5
EPOCH_STEPS = 312
"""Steps of an epoch of CIFAR-10 with 40,000 training images."""


def traffic(run: Trainer, data: Data, bank: Bank) -> Traffic:
    """The traffic of one step that is not recorded."""
    batch = next(data.train.epoch(Order(0, 1, BATCH), device=run.device))
    step = StepContext(METHOD.weights(0.0), lambda rows: rows, CLASSES)
    counted = Traffic()
    with counted:
        run.learner.step(batch, bank.outputs(batch, NEEDS), step)
    return counted


def per_step(run: Trainer, steps: int, rounds: int) -> tuple[float, float]:
    """Seconds of a step, and of an epoch's end."""
    whole, part = (seconds(partial(run.steps, 2, count), run.device, rounds) for count in two(steps))
    step = (whole - part) / (steps - steps // 2)
    return step, whole - steps * step


def ceilings(device: torch.device) -> tuple[float, float]:
    """FLOP/s of a large bfloat16 product and bytes/s of a large copy, as this card does them."""
    side = 8192 if device.type == "cuda" else 256
    one, other = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    flops = 2 * side**3 / seconds(lambda: one @ other, device, ROUNDS)
    source = torch.randn(side * side, device=device)
    target = torch.empty_like(source)
    return flops, 2 * source.nbytes / seconds(lambda: target.copy_(source), device, ROUNDS)


def check(images: Images, student: str, device: torch.device) -> float:
    """The gate: the relative difference between a plain loop's first update and lpstudy's, in float32.

    Raises:
        DisagreementError: It is above 1e-3.
    """
    before_tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        batch = gate_batch(images, device=device)
        plain = _plain(student, itertools.repeat(batch), device)
        for net in (plain.student, plain.teacher):
            net.double()
        before = copies(plain.student.parameters())
        plain.step()
        update = changes(before, plain.student.parameters())
        return agree(f"the plain update of {student}", one_update(images, student, device=device), update)
    finally:
        torch.backends.cudnn.allow_tf32 = before_tf32


def _plain(student: str, batches: Iterator[Pair], device: torch.device) -> PlainLoop:
    nets = (PlainNet(network(student)), PlainNet(network("teacher", seed=TEACHER_SEED)))
    return PlainLoop(nets[0].to(device), nets[1].to(device), batches)


def measure(
    student: str, root: Path | None, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    """All figures of a student."""
    steps, rounds = options.steps, options.rounds
    images = load_images(root, (steps + 1) * BATCH)
    results: dict[str, Any] = {"student": student, "data": images.source}
    try:
        results["agreement"] = first_agreement(lambda some: check(some, student, device), images)
    except DisagreementError as error:
        results |= {"agreement": None, "gate": str(error)}
    data = make_data(images, train=steps * BATCH).with_views(1).to(device)
    bank = make_bank_in_memory(data, device)
    ready = [(batch.images, batch.labels) for batch in data.train.epoch(Order(0, 1, BATCH), device=device)]
    plain = _plain(student, itertools.cycle(ready), device)
    call: Callable[[], object] = plain.step
    results["plain_ms"] = 1e3 * seconds(lambda: [call() for _ in range(steps)], device, rounds) / steps
    results["best"] = best(device)
    for precision in dict.fromkeys(("fp32", best(device))):
        run = runner(student, data, bank, precision, 0)
        step, end = per_step(run, steps, rounds)
        results[precision] = {"ms": 1e3 * step, "epoch_end_ms": 1e3 * end}
        results[precision]["recorded"] = getattr(run.step, "refusal", "not on this device") is None
    counted = traffic(run, data, bank)
    macs = cost_of(student_spec(student), input_shape=SHAPE, classes=CLASSES).macs
    results |= {"flop": 6 * macs * BATCH, "bytes": counted.bytes, "operators": counted.operators}
    results["packed"] = []
    for count in options.packed:
        runs = [runner(student, data, bank, best(device), seed) for seed in range(count)]
        ways = {
            "streams": partial(on_streams, runs, steps, rounds),
            "processes": partial(in_processes, count, Workload(student, root, steps, device.type)),
        }
        results["packed"].append({"trials": count, **packed(ways)})
    return results


def packed(ways: Mapping[str, Callable[[], float]]) -> dict[str, object]:
    """Milliseconds of a trial-step by way; None for one that failed, with its message."""
    milliseconds: dict[str, object] = {}
    for way, call in ways.items():
        try:
            milliseconds[f"{way}_ms"] = 1e3 * call()
        except RuntimeError as error:
            milliseconds |= {f"{way}_ms": None, f"{way}_failed": " ".join(str(error).split())[:200]}
    return milliseconds


def report(results: dict[str, Any], device: torch.device) -> None:
    """Print the table; what is achieved goes into the results."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    measured = ceilings(device)
    sheet = next((limits for card, limits in LIMITS.items() if card in name), measured)
    fast = results["best"]
    times = {f"{one}, alone": results[one]["ms"] for one in ("fp32", "bf16") if one in results}
    failed = {}
    for of_count in results["packed"]:
        for way in ("streams", "processes"):
            how = f"{fast}, {of_count['trials']} trials in {way}"
            if of_count[f"{way}_ms"] is None:
                failed[how] = of_count[f"{way}_failed"]
            else:
                times[how] = of_count[f"{way}_ms"]
    lines: list[dict[str, object]] = [
        {
            "lpstudy": how,
            "ms a trial-step": ms,
            "x plain": results["plain_ms"] / ms,
            "TFLOP/s": results["flop"] / ms / 1e9,
            "% of limit": results["flop"] / ms / 1e-3 / sheet[0] * 100,
            "TB/s": results["bytes"] / ms / 1e9,
            "% of its limit": results["bytes"] / ms / 1e-3 / sheet[1] * 100,
        }
        for how, ms in times.items()
    ]
    show(f"{results['student']}, batch {BATCH}, on {name} ({results['data']})", lines)
    print(f"a plain loop with its teacher: {results['plain_ms']:.2f} ms a step")
    step, end = results[fast]["ms"], results[fast]["epoch_end_ms"]
    print(f"an epoch's end: {end:.1f} ms; an epoch of {EPOCH_STEPS} steps: {EPOCH_STEPS * step + end:.0f} ms")
    print(f"recorded: {results[fast]['recorded']}")
    for how, words in failed.items():
        print(f"not measured: {how}: {words}")
    if "gate" in results:
        print(f"the gate is closed, the sides do not compute the same: {results['gate']}")
    print(f"limits {sheet[0] / 1e12:.1f} TFLOP/s and {sheet[1] / 1e12:.2f} TB/s; a large product and a large")
    print(f"copy reach {measured[0] / 1e12:.1f} and {measured[1] / 1e12:.2f} here")
    results |= {"gpu": name, "achieved": lines, "limits": sheet, "ceilings": measured}


def main(arguments: Sequence[str] | None = None) -> None:
    """Check, measure, print and write."""
    parser = command(__doc__)
    parser.add_argument("--student", choices=STUDENTS, default="fitnet1")
    parser.add_argument("--steps", type=int, default=128, help="steps in a timed call")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="timed calls")
    parser.add_argument("--packed", type=int, nargs="*", default=(2, 4, 8), help="trials on the GPU at once")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: try the program out")
    options = parser.parse_args(arguments)
    if options.steps < 2:
        parser.error("--steps: at least 2")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "gpu.py: there is no GPU here\n")
    device = torch.device(options.device)
    results = measure(options.student, options.data_root, device, options)
    report(results, device)
    if options.json:
        write(options.json, results)
    if "gate" in results:
        parser.exit(1)


if __name__ == "__main__":
    main()
