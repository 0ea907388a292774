"""A teacher bank as in a study: computed by the teacher, on disk, mapped into memory."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from workload import CLASSES, CPU, TEACHER_SEED, teacher

from lpstudy.data import Data
from lpstudy.methods import Needs
from lpstudy.teacher import Bank, BankPlan, Store, TrainedTeacher, compute_blocks
from lpstudy.teacher.bank_plan import LOGITS, BankedOutput
from lpstudy.training.precision import has_bf16

BANKED_OUTPUTS = (BankedOutput(LOGITS, (CLASSES,)), BankedOutput("embedding", (500,)))
"""The outputs of the FitNets teacher that CE + KD + LP reads."""
NEEDS = Needs(logits=True, embedding=True)


@contextmanager
def own_cache() -> Iterator[None]:
    """A new cache folder, removed at the end: the user's own might have the bank already."""
    before = os.environ.get("LPSTUDY_CACHE")
    with tempfile.TemporaryDirectory(prefix="lpstudy-bench-") as folder:
        os.environ["LPSTUDY_CACHE"] = folder
        try:
            yield
        finally:
            del os.environ["LPSTUDY_CACHE"]
            if before is not None:
                os.environ["LPSTUDY_CACHE"] = before


def make_bank(data: Data, *, dtype: str = "fp16", bf16: bool = False) -> Bank:
    """The bank of all views in use, computed where the cache does not have it.

    Args:
        data: The data set, whose training images the teacher sees.
        dtype: `fp16` or `fp32`.
        bf16: Whether the teacher computes in bfloat16.
    """
    online = teacher(bf16=bf16)
    macs = online.macs(NEEDS, 1)
    description = f"weights of seed {TEACHER_SEED}"
    file = TrainedTeacher(
        folder="",
        key=description,
        sha256=description,
        label="fitnet-teacher",
        validation_accuracy=0.0,
        test_accuracy=0.0,
        parameters=0,
        macs=macs,
        training_macs=0.0,
        seed=TEACHER_SEED,
    )
    plan = BankPlan(
        data.views, data.augmentations, len(data.train), dtype, BANKED_OUTPUTS, (), "what the loss reads"
    )
    store = Store(plan, file, data, bf16=bf16)
    store.prepare()
    missing, _ = store.missing()
    for computed_block in compute_blocks(store, data, online, missing):
        store.enter(computed_block.block, computed_block.digests)
    return Bank(store.open_outputs(), online.network, macs, None, CPU)


def make_bank_in_memory(data: Data, device: torch.device) -> Bank:
    """All views that the data uses, in memory, in fp16, computed on the device."""
    online = teacher(bf16=has_bf16(device), device=device)
    everything = torch.arange(len(data.train))
    logits, embeddings = [], []
    for view in range(data.views):
        batches = list(data.train.one_view(view, everything, batch_size=512, device=device))
        outputs = [online.outputs(batch, NEEDS) for batch in batches]
        logits.append(torch.cat([output.logits for output in outputs]).half().cpu())
        embeddings.append(torch.cat([output.embedding for output in outputs]).half().cpu())
    stacked = {"logits": torch.stack(logits), "embedding": torch.stack(embeddings)}
    return Bank(stacked, online.network, online.macs(NEEDS, 1), None, device)
