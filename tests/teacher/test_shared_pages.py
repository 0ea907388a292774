"""Processes that use one bank at once hold one copy of it together."""

import multiprocessing
import os
import re
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import torch
from small_banks import SmallBank

from lpstudy.data import Data
from lpstudy.methods import Needs
from lpstudy.space import TeacherSpec
from lpstudy.teacher import BankPlan, TrainedTeacher, open_teacher_outputs

MakeBank = Callable[..., SmallBank]

PROCESSES = 8
CPU = torch.device("cpu")


def mapped(name: str) -> dict[str, int]:
    """Bytes of a file in this process's memory, by the kernel's names (proc_pid_smaps(5))."""
    sizes: dict[str, int] = {}
    in_mapping = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            in_mapping = line.endswith(name)
        elif in_mapping and line.endswith(" kB"):
            key, size = line.removesuffix(" kB").split(":")
            sizes[key] = sizes.get(key, 0) + 1024 * int(size)
    return sizes


def use(
    cache: str,
    plan: BankPlan,
    file: TrainedTeacher,
    spec: TeacherSpec,
    data: Data,
    barrier: Barrier,
    connection: Connection,
) -> None:
    """Read every row of the bank as a trial does, and wait until all others have."""
    os.environ["LPSTUDY_CACHE"] = cache
    torch.set_num_threads(1)
    targets = open_teacher_outputs(plan, file, spec, data, device=CPU)
    everything = torch.arange(plan.samples)
    for view in range(plan.views):
        (batch,) = data.train.one_view(view, everything, batch_size=plan.samples, device=CPU)
        targets.outputs(batch, Needs(logits=True, maps=("conv1",)))
    barrier.wait(120)
    connection.send(mapped("map.conv1.fp16"))
    barrier.wait(120)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose a page is")
def test_eight_processes_share_the_pages_of_a_bank(make_bank: MakeBank, tmp_path: Path) -> None:
    bank = make_bank({"fitnet": {}}, views=18)
    bank.fill()
    size = (bank.store.folder / "map.conv1.fp16").stat().st_size
    assert size == 18 * 100 * 256 * 2
    context = multiprocessing.get_context("fork")  # torch is imported already; the bank is mapped after
    barrier = context.Barrier(PROCESSES)
    reports = []
    cache = str(tmp_path / "cache")
    shared = (cache, bank.plan, bank.file, bank.spec.teacher, bank.data, barrier)
    running = []
    for _ in range(PROCESSES):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=use, args=(*shared, sender))
        process.start()
        running.append((process, receiver))
    for process, receiver in running:
        assert receiver.poll(240)
        reports.append(receiver.recv())
        process.join(60)
        assert process.exitcode == 0
    for sizes in reports:
        assert sizes["Rss"] >= 0.99 * size
        assert sizes["Private_Clean"] + sizes["Private_Dirty"] + sizes["Anonymous"] == 0
    assert sum(sizes["Pss"] for sizes in reports) <= 1.1 * size
