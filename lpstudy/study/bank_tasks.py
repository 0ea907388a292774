"""Tasks that compute the teacher's outputs once, on all cores or GPUs of the cluster."""

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
from lpstudy.disk import storage_errors_at
from lpstudy.folder import LocalFolder
from lpstudy.space import ImportedCode, StudySpec, TeacherSpec, load_all
from lpstudy.study.cluster import (
    StudyPaths,
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
    """The progress of filling the bank."""

    blocks_done: int
    """The number of valid blocks."""
    blocks_total: int
    note: str = ""
    """A message to the user about a wait or about damaged files."""


def fill_bank(
    spec: StudySpec,
    data: Data,
    file: TrainedTeacher,
    plan: BankPlan,
    paths: StudyPaths,
    resources: TrialResources,
    control: StudyControl,
) -> Iterator[BankProgress]:
    """Compute the bank's missing blocks one by one; returns at once if an earlier study has filled it.

    Another study that uses the same bank waits until this one has filled it. After a kill, all blocks remain
    except those that were being written.

    Raises:
        ValueError: The disk is too small, or an output is beyond the bank's number format.
        StorageError: The disk has become full, or cannot be written.
        PausedError: The study must not continue; finished blocks are kept.
        TaskError: Out of memory, or workers were lost too often in a row.
    """
    gpus = min(1.0, cluster_resources()[1]) if resources.gpus_per_trial else 0.0
    teacher = with_resolved_precision(spec.teacher, resources)
    store = bank_store(plan, file, teacher, data, torch.device("cuda" if gpus else "cpu"))
    total = len(store.blocks())
    if not any(store.missing()):  # before the lock: a filled cache may be read-only
        return
    with storage_errors_at(store.folder):
        store.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(store.folder / "lock")
    waiting = False
    while True:
        try:
            with storage_errors_at(store.folder / "lock"):
                lock_context = lock.acquire(timeout=WAIT_SECONDS)
            break
        except Timeout:
            if not waiting:
                yield BankProgress(0, total, "another study is filling it, waiting")
            waiting = True
            control.check()
    with lock_context:  # `with lock` would acquire it twice and release it once
        missing, damaged = store.missing()
        for line in damaged:
            yield BankProgress(total - len(missing), total, line)
        if missing:
            if isinstance(store.shared, LocalFolder):
                _check_disk(store.folder, plan, len(missing) / total)
            store.prepare()
            store.describe(bank_origin(plan, file, data))
            root = str(paths.data_root) if paths.data_root else None
            task_args = (
                paths.imported,
                spec.data.model_dump_json(),
                root,
                teacher.model_dump_json(),
                file,
                plan,
            )
            blocks_done = total - len(missing)
            for block in _compute(missing, task_args, gpus):
                store.enter(block.block, block.digests)
                blocks_done += 1
                yield BankProgress(blocks_done, total)
                control.check()


def _check_disk(folder: Path, plan: BankPlan, share: float) -> None:
    needed, free_bytes = int(plan.bytes * share), shutil.disk_usage(folder).free
    if needed > free_bytes:
        raise ValueError(
            f"{folder}: the teacher bank takes {needed:,} bytes more, but {free_bytes:,} are free: lower"
            " [teacher] views, set online = true, or set LPSTUDY_CACHE to another disk"
        )


def _compute(missing: list[Block], task_args: tuple[Any, ...], gpus: float) -> Iterator[ComputedBlock]:
    """Compute the missing blocks on workers, in the order in which they finish."""
    cpus, all_gpus = cluster_resources()
    workers = max(1, int(all_gpus / gpus) if gpus else int(cpus))
    fill_task = task(_fill, cpus=cpus_per_gpu_share(gpus), gpus=gpus)
    remaining = [list(share) for share in deal_blocks(missing, workers)]
    streams: list[RestartingTask[ComputedBlock]] = [
        RestartingTask(partial(fill_task.remote, *task_args, share, gpus)) for share in remaining
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


def _fill(
    imported: tuple[ImportedCode, ...],
    data: str,
    root: str | None,
    teacher: str,
    file: TrainedTeacher,
    plan: BankPlan,
    blocks: list[Block],
    gpus: float,
) -> Iterator[ComputedBlock]:
    load_all(imported)
    device = device_of(gpus=gpus)
    split_data = load(DataSpec.model_validate_json(data), root=Path(root) if root else None)
    spec = TeacherSpec.model_validate_json(teacher)
    store = bank_store(plan, file, spec, split_data, device)
    network = open_teacher(file, spec, split_data, device=device)
    yield from compute_blocks(
        store, split_data, network, blocks, chunk_size=teacher_chunk_size(spec, split_data, device)
    )
