"""Tasks that compute the teacher's outputs once, on all cores or GPUs of the cluster."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray

from lpstudy.ray_cluster.cluster import cluster_resources, machines
from lpstudy.ray_cluster.restarting_task import RestartingTask, task
from lpstudy.ray_cluster.teacher_task import TeacherTask
from lpstudy.study.resources import cpus_per_gpu_share
from lpstudy.study.run_epochs import device_of
from lpstudy.teacher import (
    BankPlan,
    Block,
    ComputedBlock,
    TrainedTeacher,
    bank_store,
    compute_blocks,
    deal_blocks,
    metered,
    open_teacher,
    teacher_chunk_size,
)


@dataclass(frozen=True, slots=True)
class BankTask:
    """All that a task needs to compute blocks of a bank."""

    task: TeacherTask
    file: TrainedTeacher
    plan: BankPlan


def compute_on_cluster(bank: BankTask, missing: Sequence[Block]) -> Iterator[ComputedBlock]:
    """Compute the missing blocks on workers, in the order in which they finish."""
    cpus, all_gpus = cluster_resources()
    gpus = bank.task.gpus
    workers = max(1, int(all_gpus / gpus) if gpus else int(cpus))
    fill_task = task(_fill, cpus=cpus_per_gpu_share(gpus, machines()), gpus=gpus)
    remaining = [list(share) for share in deal_blocks(list(missing), workers)]
    streams: list[RestartingTask[ComputedBlock]] = [
        RestartingTask(partial(fill_task.remote, bank, share)) for share in remaining
    ]
    running = {stream.results: number for number, stream in enumerate(streams)}
    while running:
        ready: list[Any] = ray.wait(list(running), num_returns=1, fetch_local=False)[0]
        for results in ready:
            number = running.pop(results)
            with suppress(StopIteration):
                block = streams[number].next()
                running[streams[number].results] = number
                if block is not None:
                    remaining[number].remove(block.block)
                    yield block


def _fill(bank: BankTask, blocks: list[Block]) -> Iterator[ComputedBlock]:
    data, spec = bank.task.load()
    device = device_of(gpus=bank.task.gpus)
    store = bank_store(bank.plan, bank.file, spec, data, device)
    network = open_teacher(bank.file, spec, data, device=device)
    chunk_size = teacher_chunk_size(spec, data, device)
    computed = compute_blocks(store, data, network, blocks, chunk_size=chunk_size)
    yield from metered(computed, network, gpus=bank.task.gpus)
