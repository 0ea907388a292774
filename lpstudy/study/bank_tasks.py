"""The teacher's outputs computed once, on all the cores or GPUs of the cluster."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from filelock import FileLock, Timeout

from lpstudy.data import Data, DataSpec, load
from lpstudy.disk import naming
from lpstudy.folder import LocalFolder
from lpstudy.space import StudySpec, TeacherSpec
from lpstudy.study.cluster import (
    Place,
    TrialResources,
    cluster_resources,
    cpus_per_gpu_share,
    with_resolved_precision,
)
from lpstudy.study.control import StudyControl
from lpstudy.study.restarting_task import RestartingTask, task
from lpstudy.study.trial import device_of
from lpstudy.teacher import (
    BankPlan,
    Block,
    ComputedBlock,
    TrainedTeacher,
    bank_origin,
    bank_store,
    compute_blocks,
    deal_blocks,
    open_teacher,
    teacher_chunk_size,
)

WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class BankProgress:
    """How far the bank is."""

    done: int
    """Blocks of it that are valid."""
    total: int
    note: str = ""
    """What else there is to say: who is waited for, what was damaged."""


def fill_bank(
    spec: StudySpec,
    data: Data,
    file: TrainedTeacher,
    plan: BankPlan,
    place: Place,
    resources: TrialResources,
    control: StudyControl,
) -> Iterator[BankProgress]:
    """Compute what the bank lacks, block by block; at once where an earlier study has filled it.

    Another study that wants the same bank waits until this one has filled it. What a kill left is kept, but
    for the blocks that were being written.

    Raises:
        ValueError: The disk is too small, or an output is beyond the bank's number format.
        StorageError: The disk has become full, or cannot be written.
        PausedError: Something else than to go on is wished; what is done is kept.
        TaskError: Out of memory, or workers were lost too often in a row.
    """
    gpus = min(1.0, cluster_resources()[1]) if resources.gpus_per_trial else 0.0
    teacher = with_resolved_precision(spec.teacher, resources)
    store = bank_store(plan, file, teacher, data, torch.device("cuda" if gpus else "cpu"))
    total = len(store.blocks())
    if not any(store.missing()):  # before the lock: a cache that has it may be one that only can be read
        return
    with naming(store.folder):
        store.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(store.folder / "lock")
    waiting = False
    while True:
        try:
            with naming(store.folder / "lock"):
                held = lock.acquire(timeout=WAIT_SECONDS)
            break
        except Timeout:
            if not waiting:
                yield BankProgress(0, total, "another study is filling it, waiting")
            waiting = True
            control.check()
    with held:  # `with lock` would take it a second time and give it back once
        missing, damaged = store.missing()
        for line in damaged:
            yield BankProgress(total - len(missing), total, line)
        if missing:
            if isinstance(store.shared, LocalFolder):
                _check_disk(store.folder, plan, len(missing) / total)
            store.prepare()
            store.describe(bank_origin(plan, file, data))
            root = str(place.data_root) if place.data_root else None
            told = (spec.data.model_dump_json(), root, teacher.model_dump_json(), file, plan)
            done = total - len(missing)
            for filled in _by_workers(missing, told, gpus):
                store.enter(filled.block, filled.digests)
                done += 1
                yield BankProgress(done, total)
                control.check()


def _check_disk(folder: Path, plan: BankPlan, share: float) -> None:
    needed, free = int(plan.bytes * share), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{folder}: the teacher bank takes {needed:,} bytes more, but {free:,} are free: lower [teacher]"
            " views, set online = true, or set LPSTUDY_CACHE to another disk"
        )


def _by_workers(missing: list[Block], told: tuple[Any, ...], gpus: float) -> Iterator[ComputedBlock]:
    """All that is missing, in the order in which the workers have it."""
    cpus, all_gpus = cluster_resources()
    workers = max(1, int(all_gpus / gpus) if gpus else int(cpus))
    filling = task(_fill, cpus=cpus_per_gpu_share(gpus), gpus=gpus)
    left = [list(share) for share in deal_blocks(missing, workers)]
    streams: list[RestartingTask[ComputedBlock]] = [
        RestartingTask(partial(filling.remote, *told, share, gpus)) for share in left
    ]
    running = {stream.results: number for number, stream in enumerate(streams)}
    while running:
        ready: list[Any] = ray.wait(list(running), num_returns=1, fetch_local=False)[0]
        for results in ready:
            number = running.pop(results)
            with suppress(StopIteration):
                filled = streams[number].next()
                running[streams[number].results] = number
                if filled is not None:
                    left[number].remove(filled.block)
                    yield filled


def _fill(
    data: str,
    root: str | None,
    teacher: str,
    file: TrainedTeacher,
    plan: BankPlan,
    blocks: list[Block],
    gpus: float,
) -> Iterator[ComputedBlock]:
    device = device_of(gpus=gpus)
    loaded = load(DataSpec.model_validate_json(data), root=Path(root) if root else None)
    spec = TeacherSpec.model_validate_json(teacher)
    store = bank_store(plan, file, spec, loaded, device)
    opened = open_teacher(file, spec, loaded, device=device)
    yield from compute_blocks(
        store, loaded, opened, blocks, chunk_size=teacher_chunk_size(spec, loaded, device)
    )
