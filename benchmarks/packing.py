"""Trials packed on one GPU: queued by one thread, each on a stream of its own, or each in a process."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from typing import Any

import torch
from banking import NEEDS, make_bank_in_memory
from timing import seconds, wait
from workload import BATCH, CLASSES, METHOD, load_images, make_data, trial

from lpstudy.data import Data, Order
from lpstudy.methods import StepContext
from lpstudy.space import Precision
from lpstudy.teacher import Bank
from lpstudy.training import optimizers, parallel
from lpstudy.training.precision import has_bf16
from lpstudy.training.trainer import Trainer

STARTED = 60.0
"""Seconds within which all packed processes must have started, or the others end too."""


def best(device: torch.device) -> Precision:
    """bf16 where the device multiplies it itself."""
    return "bf16" if has_bf16(device) else "fp32"


@dataclass(frozen=True, slots=True)
class Workload:
    """The runs of a comparison; also for a process that builds its own data and bank."""

    student: str
    root: Path | None
    """The folder of the images: see `load_images`."""
    steps: int
    """Steps of an epoch."""
    device: str


def runner(student: str, data: Data, bank: Bank, precision: Precision, seed: int) -> Trainer:
    """A run on the data's device whose step has been recorded."""
    device = data.train.labels.device
    one = trial(student, epochs=2, seed=seed, precision=precision, batch_size=BATCH)
    run = Trainer(one, data, bank, device)
    run.steps(1, 2)
    return run


def two(steps: int) -> tuple[int, int]:
    """A number of steps and half of it: the difference of their times contains no end of an epoch."""
    return steps, steps // 2


def on_streams(runs: Sequence[Trainer], steps: int, rounds: int) -> float:
    """Seconds of a step of one trial when one thread queues a step of each in turn, on a stream for each.

    The epochs' ends are left out. Threads would share Python's lock for all that they launch.
    """
    device = runs[0].device
    streams = [_stream(device) for _ in runs]

    def together(count: int) -> None:
        queues = [queued(run, count) for run in runs]
        for _ in range(count):
            for queue, stream in zip(queues, streams, strict=True):
                with stream():
                    next(queue)

    whole, part = (seconds(partial(together, count), device, rounds) for count in two(steps))
    return (whole - part) / (len(runs) * (steps - steps // 2))


def _stream(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    if device.type != "cuda":
        return nullcontext
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return partial(torch.cuda.stream, stream)


def queued(run: Trainer, count: int) -> Iterator[None]:
    """Queue steps of a run's second epoch, one at each call, without waiting for them."""
    if run.teacher is None:
        raise ValueError("the run has no teacher")
    step = StepContext(METHOD.weights(0.5), parallel.gather, CLASSES)
    training = run.training
    batches = run.data.train.epoch(Order(run.trial.seed, 2, training.batch_size), device=run.device)
    for number, batch in enumerate(itertools.islice(batches, count)):
        optimizers.set_rate(
            run.learner.optimizer, optimizers.rate_at(training, 0.5 + 0.5 * number / count, 1)
        )
        run.step(batch, run.teacher.outputs(batch, NEEDS), step)
        yield


def in_processes(count: int, workload: Workload) -> float:
    """Seconds of a step with a process for each trial, as Ray packs them.

    Raises:
        RuntimeError: One of them failed, which ends the others, or did not start in time.
    """
    context = torch.multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(count, timeout=STARTED), context.SimpleQueue()
    arguments = [(seed, workload, barrier, times) for seed in range(count)]
    processes = [context.Process(target=_process, args=one, daemon=True) for one in arguments]
    for process in processes:
        process.start()
    join(processes, barrier)  # what they put fits into the pipe
    ends = [times.get() for _ in range(2 * count)]
    whole, part = (
        max(end for n, _, end in ends if n == number) - min(start for n, start, _ in ends if n == number)
        for number in two(workload.steps)
    )
    return float(whole - part) / (count * (workload.steps - workload.steps // 2))


def join(processes: Sequence[Any], barrier: Any) -> None:
    """Wait for processes that wait for each other; where one fails, the others hear of it at once.

    Raises:
        RuntimeError: Says how many failed.
    """
    running = {process.sentinel: process for process in processes}
    failed = 0
    while running:
        for sentinel in wait_for_any(list(running)):
            process = running.pop(sentinel)
            process.join()
            if process.exitcode:
                failed += 1
                barrier.abort()
    if failed:
        raise RuntimeError(f"{failed} of {len(processes)} processes failed")


def _process(seed: int, workload: Workload, barrier: Any, times: Any) -> None:
    torch.set_num_threads(1)
    device = torch.device(workload.device)
    images = load_images(workload.root, (workload.steps + 1) * BATCH)
    data = make_data(images, train=workload.steps * BATCH).with_views(1).to(device)
    run = runner(workload.student, data, make_bank_in_memory(data, device), best(device), seed)
    for count in two(workload.steps):
        wait(device)
        barrier.wait()
        start = time.perf_counter()  # the machine's own clock: all processes read the same
        run.steps(2, count)
        wait(device)
        times.put((count, start, time.perf_counter()))
