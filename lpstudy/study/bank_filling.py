"""The filling of a study's teacher bank: one study at a time, block by block, resumable."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from lpstudy.disk import storage_errors_at
from lpstudy.folder import LocalFolder
from lpstudy.spending import PhaseSpending
from lpstudy.study.backend import Backend
from lpstudy.study.control import StudyControl
from lpstudy.study.run_job import StudyInputs
from lpstudy.teacher import (
    BankPlan,
    Store,
    TrainedTeacher,
    add_bank_spending,
    bank_origin,
    bank_store,
    read_bank_spending,
)

WAIT_SECONDS = 1.0
"""Seconds between two attempts to lock the bank."""


@dataclass(frozen=True, slots=True)
class BankProgress:
    """The progress of filling the bank."""

    blocks_done: int
    """The number of valid blocks."""
    blocks_total: int
    note: str = ""
    """A message to the user about a wait or about damaged files."""


def fill_bank(
    study: StudyInputs, teacher: TrainedTeacher, backend: Backend, control: StudyControl
) -> Iterator[BankProgress]:
    """Compute the bank's missing blocks one by one; returns at once if an earlier study has filled it.

    Another study that uses the same bank waits until this one has filled it. After a kill, all blocks remain
    except those that were being written.

    Raises:
        ValueError: The disk is too small, or an output is beyond the bank's number format.
        StorageError: The disk has become full, or cannot be written.
        PausedError: The study must not continue; finished blocks are kept.
        TaskError: Out of memory, or processes were lost too often in a row.
    """
    plan, data = study.plan, study.data
    store = _store(study, teacher, backend)
    total = len(store.blocks())
    if not any(store.missing()):  # before the lock: a filled cache may be read-only
        return
    with storage_errors_at(store.folder):
        store.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(store.folder / "lock")
    is_waiting = False
    while True:
        try:
            with storage_errors_at(store.folder / "lock"):
                lock_context = lock.acquire(timeout=WAIT_SECONDS)
            break
        except Timeout:
            if not is_waiting:
                yield BankProgress(0, total, "another study is filling it, waiting")
            is_waiting = True
            control.check()
    with lock_context:  # `with lock` would acquire it twice and release it once
        missing, damaged = store.missing()
        for line in damaged:
            yield BankProgress(total - len(missing), total, line)
        if missing:
            if isinstance(store.shared, LocalFolder):
                _check_disk(store.folder, plan, len(missing) / total)
            store.prepare()
            store.describe(bank_origin(plan, teacher, data))
            blocks_done = total - len(missing)
            for block in backend.compute_blocks(study, teacher, missing):
                add_bank_spending(store, block.spending)
                store.enter(block.block, block.digests)
                blocks_done += 1
                yield BankProgress(blocks_done, total)
                control.check()


def bank_spending(study: StudyInputs, teacher: TrainedTeacher, backend: Backend) -> PhaseSpending | None:
    """What the study's bank has cost up to now, by all studies that filled it; None where it is not known.

    Raises:
        StorageError: The cache does not answer.
    """
    return read_bank_spending(_store(study, teacher, backend)) if study.plan.banked_outputs else None


def _store(study: StudyInputs, teacher: TrainedTeacher, backend: Backend) -> Store:
    device = torch.device("cuda" if backend.resources.gpus_per_trial else "cpu")
    return bank_store(study.plan, teacher, backend.resolve(study.spec.teacher), study.data, device)


def _check_disk(folder: Path, plan: BankPlan, share: float) -> None:
    needed, free_bytes = int(plan.bytes * share), shutil.disk_usage(folder).free
    if needed > free_bytes:
        raise ValueError(
            f"{folder}: the teacher bank takes {needed:,} bytes more, but {free_bytes:,} are free: lower"
            " [teacher] views, set online = true, or set LPSTUDY_CACHE to another disk"
        )
