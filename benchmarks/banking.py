"""A teacher bank as a study has it: filled by the teacher, on disk, mapped into memory."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from workload import CLASSES, CPU, TEACHER_SEED, teacher

from lpstudy.data import Data
from lpstudy.distill import Needs
from lpstudy.teacher import Bank, BankPlan, Store, TrainedTeacher, compute_blocks
from lpstudy.teacher.bank_plan import LOGITS, BankedOutput
from lpstudy.training.precision import has_bf16

KEPT = (BankedOutput(LOGITS, (CLASSES,)), BankedOutput("embedding", (500,)))
"""What CE + KD + LP reads of the FitNets teacher."""
NEEDS = Needs(logits=True, embedding=True)


@contextmanager
def own_cache() -> Iterator[None]:
    """A cache folder that is new, and gone afterwards: a bank in the user's own would be warm already."""
    before = os.environ.get("LPSTUDY_CACHE")
    with tempfile.TemporaryDirectory(prefix="lpstudy-bench-") as folder:
        os.environ["LPSTUDY_CACHE"] = folder
        try:
            yield
        finally:
            del os.environ["LPSTUDY_CACHE"]
            if before is not None:
                os.environ["LPSTUDY_CACHE"] = before


def filled(given: Data, *, dtype: str = "fp16", bf16: bool = False) -> Bank:
    """The bank of all views that the data uses; computed here and now where the cache does not have it.

    Args:
        given: The training images.
        dtype: `fp16` or `fp32`.
        bf16: Whether the teacher computes in bfloat16.
    """
    online = teacher(bf16=bf16)
    macs = online.macs(NEEDS, 1)
    told = f"weights of seed {TEACHER_SEED}"
    file = TrainedTeacher(
        folder="",
        key=told,
        sha256=told,
        label="fitnet-teacher",
        validation_accuracy=0.0,
        test_accuracy=0.0,
        parameters=0,
        macs=macs,
        training_macs=0.0,
        seed=TEACHER_SEED,
    )
    plan = BankPlan(
        given.views, given.augmentations, len(given.train), dtype, KEPT, (), "what the loss reads"
    )
    store = Store(plan, file, given, bf16=bf16)
    store.prepare()
    wanted, _ = store.missing()
    for done in compute_blocks(store, given, online, wanted):
        store.enter(done.block, done.digests)
    return Bank(store.open_outputs(), online.network, macs, None, CPU)


def in_memory(split: Data, device: torch.device) -> Bank:
    """All views that the data uses, in memory, in fp16, computed on the device."""
    online = teacher(bf16=has_bf16(device), device=device)
    everything = torch.arange(len(split.train), device=device)
    logits, embeddings = [], []
    for view in range(split.views):
        batches = list(split.train.one_view(view, everything, batch_size=512, device=device))
        outputs = [online.outputs(batch, NEEDS) for batch in batches]
        logits.append(torch.cat([output.logits for output in outputs]).half().cpu())
        embeddings.append(torch.cat([output.embedding for output in outputs]).half().cpu())
    kept = {"logits": torch.stack(logits), "embedding": torch.stack(embeddings)}
    return Bank(kept, online.network, online.macs(NEEDS, 1), None, device)
