"""Accuracy and loss of a network on a split."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lpstudy.class_accuracy import TOP, TOP_FROM, balanced_accuracy, is_uneven
from lpstudy.data.split import Split
from lpstudy.outputs import Network
from lpstudy.training import parallel
from lpstudy.training.memory_format import layout_of
from lpstudy.training.precision import autocast

BATCH = 500
"""Images whose results are summed at once, and most images of a forward pass."""
FEWEST_ROWS = 32
"""A matrix product of fewer rows may round in another way than one of many."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Which images of a split are classified correctly; `evaluate` fills it in."""

    correct: Tensor
    """uint8, shape (images,): 1 where the largest logit is that of the image's class."""
    among_five: Tensor | None = None
    """Likewise for the five largest logits; None for few classes."""

    @classmethod
    def of(cls, images: int, *, classes: int, device: torch.device) -> Self:
        """An empty record of a split."""
        first, five = torch.zeros(2, images, dtype=torch.uint8, device=device)
        return cls(first, five if classes >= TOP_FROM else None)

    def metrics(self, labels: Tensor) -> dict[str, float]:
        """Top-5 accuracy from 20 classes on, balanced accuracy where classes are uneven; in percent."""
        metrics = {}
        if self.among_five is not None:
            metrics["top5_accuracy"] = 100 * float(self.among_five.double().mean())
        values = labels.cpu().numpy()
        if is_uneven(values):
            metrics["balanced_accuracy"] = balanced_accuracy(self.correct.bool().cpu().numpy(), values)
        return metrics


@torch.no_grad()
def evaluate(
    network: Network,
    split: Split,
    *,
    bf16: bool = False,
    chunk_size: int = BATCH,
    hits: Hits | None = None,
) -> tuple[float, float]:
    """Accuracy in percent and mean cross-entropy in nats; workers share the batches and agree.

    Args:
        network: Its mode is restored afterwards; the batches are made on its device.
        split: All of it is read.
        bf16: Whether it computes in bfloat16.
        chunk_size: Images in one forward pass. On a CPU float32 results are the same to the last digit for
            any number from 16 on; for smaller ones pointwise convolutions differ in their last digits.
        hits: An empty record of the split, which is filled in.
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
            is_correct = logits.argmax(1) == labels
            sums[0] += is_correct.sum()
            if hits is not None:
                hits.correct[begin - len(labels) : begin] = is_correct
            if hits is not None and hits.among_five is not None:
                is_among = (logits.topk(TOP).indices == labels[:, None]).any(1)
                hits.among_five[begin - len(labels) : begin] = is_among
            sums[1] += functional.cross_entropy(logits, labels, reduction="sum")
            batch_logits, batch_labels = [], []
    network.train(was_training)
    if hits is not None:
        for record in (hits.correct, hits.among_five):
            if record is not None:
                parallel.all_reduce_sum(record)  # each worker has ones only in its own batches
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
