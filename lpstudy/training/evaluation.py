"""Accuracy and loss of a network on a split."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lpstudy.data.split import Split
from lpstudy.outputs import Network
from lpstudy.training import parallel
from lpstudy.training.memory_format import layout_of
from lpstudy.training.precision import autocast
from lpstudy.training.predictions import Predictions

BATCH = 500
"""Images whose results are summed at once, and most images of a forward pass."""
FEWEST_ROWS = 32
"""A matrix product of fewer rows may round in another way than one of many."""


@torch.no_grad()
def evaluate(
    network: Network,
    split: Split,
    *,
    bf16: bool = False,
    chunk_size: int = BATCH,
    predictions: Predictions | None = None,
) -> tuple[float, float]:
    """Accuracy in percent and mean cross-entropy in nats; workers share the batches and agree.

    Args:
        network: Its mode is restored afterwards; the batches are made on its device.
        split: All of it is read.
        bf16: Whether it computes in bfloat16.
        chunk_size: Images in one forward pass. On a CPU float32 results are the same to the last digit for
            any number from 16 on; for smaller ones pointwise convolutions differ in their last digits.
        predictions: An empty record of the split, which is filled in.
    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    layout = layout_of(network)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    batch_logits: list[Tensor] = []
    batch_labels: list[Tensor] = []
    begin = 0
    for part in split.batches(batch_size=BATCH, device=device, chunk_size=chunk_size):
        if begin // BATCH % parallel.world_size() == parallel.rank():
            images = part.images.contiguous(memory_format=layout)
            with autocast(device, bf16=bf16), large_batch_rounding(len(images)):
                batch_logits.append(network(images).logits.float())
            batch_labels.append(part.labels)
            del images
        begin += len(part.labels)
        if batch_logits and (begin % BATCH == 0 or begin == len(split)):
            logits, labels = torch.cat(batch_logits), torch.cat(batch_labels)
            sums[0] += (logits.argmax(1) == labels).sum()
            if predictions is not None:
                predictions.enter(begin - len(labels), logits, labels)
            sums[1] += functional.cross_entropy(logits, labels, reduction="sum")
            batch_logits, batch_labels = [], []
    network.train(was_training)
    if predictions is not None:
        predictions.add_up()
    share, loss = (parallel.all_reduce_sum(sums) / len(split)).tolist()
    return 100 * share, loss


@contextmanager
def large_batch_rounding(rows: int) -> Iterator[None]:
    """Make linear layers round the same in a batch of few rows as in a large one."""
    if rows >= FEWEST_ROWS:
        yield
    else:
        with _PaddedRows():
            yield


class _PaddedRows(TorchFunctionMode):
    """Pads the matrix products of linear layers to `FEWEST_ROWS` rows and drops the padding."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is functional.linear and args[0].dim() > 1:
            images, *parameters = args
            rows = images.reshape(-1, images.shape[-1])
            padding = FEWEST_ROWS - len(rows)
            if padding > 0:
                output = func(functional.pad(rows, (0, 0, 0, padding)), *parameters, **(kwargs or {}))
                return output[: len(rows)].reshape(*images.shape[:-1], -1)
        return func(*args, **(kwargs or {}))
