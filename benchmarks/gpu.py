"""What a training step costs on a GPU, alone and with trials packed on it, beside the card's limits.

    python benchmarks/gpu.py [--student fitnet1] [--json FILE]

Needs torch, NumPy, pydantic and this package's core; exits with 2 where there is no GPU. Data, a bank of one
view and the student are on the GPU; a step is a recorded CUDA graph. First the gate: one update of a plain
loop that runs the teacher and one of lpstudy's agree to 1e-3 in float32 without TF32. Times are wall times,
medians; those of the plain loop in torch's own float32, whose convolutions are in TF32.

A step's cost is the difference between many steps and half as many; what is left is the end of an epoch, with
its diagnostics. FLOPs are 6 x MACs of the student's forward pass an image; bytes are what a step's operators
read and write, each tensor once an operator, so that a fused kernel moves fewer.
"""

import argparse
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from banking import NEEDS, in_memory
from measuring import agree, show, write
from ours import changes, copies, gate_batch, gated, one_update
from plain import Pair, PlainLoop, PlainNet
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
    data,
    images,
    network,
    student_spec,
    trial,
)

from lpstudy.cost import cost_of
from lpstudy.data import Data
from lpstudy.distill import Step
from lpstudy.space import Precision
from lpstudy.teacher import Bank
from lpstudy.training.precision import has_bf16
from lpstudy.training.run import Run

LIMITS = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12), "A100": (312e12, 2.0e12)}
"""FLOP/s in dense bfloat16 and bytes/s of the SXM cards, from their data sheets."""
ROUNDS = 5
STARTED = 300.0
"""Seconds within which all packed processes must have begun, or the others end too."""


def best(device: torch.device) -> Precision:
    """bf16 where the device multiplies it itself."""
    return "bf16" if has_bf16(device) else "fp32"


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Median wall seconds of a call, the device's work included; one call before is not counted."""
    taken = []
    for _ in range(rounds + 1):
        wait(device)
        began = time.perf_counter()
        call()
        wait(device)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def traffic(run: Run, split: Data, kept: Bank) -> Traffic:
    """Of one step, not recorded."""
    batch = next(split.train.epoch(batch_size=BATCH, seed=0, epoch=1, device=run.device))
    step = Step(METHOD.weights(0.0), lambda rows: rows, CLASSES)
    counted = Traffic()
    with counted:
        run.learner.step(batch, kept.outputs(batch, NEEDS), step)
    return counted


def runner(
    student: str, split: Data, kept: Bank, device: torch.device, precision: Precision, seed: int
) -> Run:
    """A run whose step has been recorded."""
    run = Run(trial(student, epochs=2, seed=seed, precision=precision), split, kept, device)
    run.steps(1, 2)
    return run


def per_step(run: Run, steps: int, rounds: int) -> tuple[float, float]:
    """Seconds of a step, and of an epoch's end."""
    whole, part = (seconds(partial(run.steps, 2, count), run.device, rounds) for count in _two(steps))
    step = (whole - part) / (steps - steps // 2)
    return step, whole - steps * step


def _two(steps: int) -> tuple[int, int]:
    """So many steps and half of them: what their times differ by holds no epoch's end."""
    return steps, steps // 2


def on_streams(runs: Sequence[Run], steps: int, rounds: int) -> float:
    """Seconds of a step of one trial when each has a thread and a stream; epochs' ends left out."""
    device = runs[0].device

    def aside() -> AbstractContextManager[object]:
        if device.type != "cuda":
            return nullcontext()
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return torch.cuda.stream(stream)

    def work(run: Run, count: int) -> None:
        with aside():
            run.steps(2, count)

    def together(count: int) -> None:
        threads = [threading.Thread(target=work, args=(run, count)) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    whole, part = (seconds(partial(together, count), device, rounds) for count in _two(steps))
    return (whole - part) / (len(runs) * (steps - steps // 2))


def in_processes(count: int, student: str, root: Path | None, kind: str, steps: int) -> float:
    """The same with a process for each trial, as Ray packs them."""
    context = torch.multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(count, timeout=STARTED), context.SimpleQueue()
    arguments = [(seed, student, root, kind, steps, barrier, times) for seed in range(count)]
    processes = [context.Process(target=_process, args=one, daemon=True) for one in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()  # what they put fits into the pipe
    if failed := [process.exitcode for process in processes if process.exitcode]:
        raise RuntimeError(f"{len(failed)} of {count} processes failed")
    taken = [times.get() for _ in range(2 * count)]
    whole, part = (
        max(end for one, _, end in taken if one == did) - min(begin for one, begin, _ in taken if one == did)
        for did in _two(steps)
    )
    return float(whole - part) / (count * (steps - steps // 2))


def _process(
    seed: int, student: str, root: Path | None, kind: str, steps: int, barrier: Any, times: Any
) -> None:
    torch.set_num_threads(1)
    device = torch.device(kind)
    split = data(images(root, (steps + 1) * BATCH), train=steps * BATCH).using(1).on(device)
    run = runner(student, split, in_memory(split, device), device, best(device), seed)
    for did in _two(steps):
        wait(device)
        barrier.wait()
        began = time.perf_counter()  # the machine's own clock: all processes read the same
        run.steps(2, did)
        wait(device)
        times.put((did, began, time.perf_counter()))


def ceilings(device: torch.device) -> tuple[float, float]:
    """FLOP/s of a large bfloat16 product and bytes/s of a large copy, as this card does them."""
    side = 8192 if device.type == "cuda" else 256
    one, other = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    flops = 2 * side**3 / seconds(lambda: one @ other, device, ROUNDS)
    source = torch.randn(side * side, device=device)
    target = torch.empty_like(source)
    return flops, 2 * source.nbytes / seconds(lambda: target.copy_(source), device, ROUNDS)


def check(given: Images, student: str, device: torch.device) -> float:
    """The gate: the relative difference between a plain loop's first update and lpstudy's, in float32.

    Raises:
        DisagreementError: It is above 1e-3.
    """
    before_tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        batch = gate_batch(given, device=device)
        plain = _plain(student, itertools.repeat(batch), device)
        for net in (plain.student, plain.teacher):
            net.double()
        before = copies(plain.student.parameters())
        plain.step()
        update = changes(before, plain.student.parameters())
        return agree(f"the plain update of {student}", one_update(given, student, device=device), update)
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
    given = images(root, (steps + 1) * BATCH)
    results: dict[str, Any] = {"student": student, "data": given.source}
    results["agreement"] = gated(lambda some: check(some, student, device), given)
    split = data(given, train=steps * BATCH).using(1).on(device)
    kept = in_memory(split, device)
    ready = [
        (batch.images, batch.labels)
        for batch in split.train.epoch(batch_size=BATCH, seed=0, epoch=1, device=device)
    ]
    plain = _plain(student, itertools.cycle(ready), device)
    call: Callable[[], object] = plain.step
    results["plain_ms"] = 1e3 * seconds(lambda: [call() for _ in range(steps)], device, rounds) / steps
    results["best"] = best(device)
    for precision in dict.fromkeys(("fp32", best(device))):
        run = runner(student, split, kept, device, precision, 0)
        step, end = per_step(run, steps, rounds)
        results[precision] = {"ms": 1e3 * step, "epoch_end_ms": 1e3 * end}
        results[precision]["recorded"] = getattr(run.step, "refused", "not on this device") is None
    counted = traffic(run, split, kept)
    macs = cost_of(student_spec(student), input_shape=SHAPE, classes=CLASSES).macs
    results |= {"flop": 6 * macs * BATCH, "bytes": counted.bytes, "operators": counted.operators}
    results["packed"] = []
    for count in options.packed:
        runs = [runner(student, split, kept, device, best(device), seed) for seed in range(count)]
        ways = (on_streams(runs, steps, rounds), in_processes(count, student, root, device.type, steps))
        results["packed"] += [{"trials": count, "streams_ms": 1e3 * ways[0], "processes_ms": 1e3 * ways[1]}]
    return results


def report(results: dict[str, Any], device: torch.device) -> None:
    """Print the table; what is achieved goes into the results."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    measured = ceilings(device)
    sheet = next((limits for card, limits in LIMITS.items() if card in name), measured)
    fast = results["best"]
    times = {f"{one}, alone": results[one]["ms"] for one in ("fp32", "bf16") if one in results}
    for packed in results["packed"]:
        for way in ("streams", "processes"):
            times[f"{fast}, {packed['trials']} trials in {way}"] = packed[f"{way}_ms"]
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
    print(f"an epoch's end: {results[fast]['epoch_end_ms']:.1f} ms; recorded: {results[fast]['recorded']}")
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


if __name__ == "__main__":
    main()
