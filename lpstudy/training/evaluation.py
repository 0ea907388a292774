"""Accuracy and loss of a network on a split."""

import torch
from torch import Tensor
from torch.nn import functional

from lpstudy.data.split import Split
from lpstudy.outputs import Network
from lpstudy.training import parallel
from lpstudy.training.layout import layout_of
from lpstudy.training.precision import autocast

BATCH = 500
"""Images per evaluation batch."""


@torch.no_grad()
def evaluate(
    network: Network,
    split: Split,
    *,
    device: torch.device,
    bf16: bool = False,
    correct: Tensor | None = None,
) -> tuple[float, float]:
    """Accuracy in percent and mean cross-entropy in nats; workers share the batches and agree.

    Args:
        network: Its mode is the same afterwards.
        split: All of it is read.
        device: Where the network is.
        bf16: Whether it computes in bfloat16.
        correct: uint8, shape (len(split),), of zeros: becomes 1 where an image's class is found.
    """
    was_training = network.training
    network.eval()
    layout = layout_of(network)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for number, batch in enumerate(split.batches(batch_size=BATCH, device=device)):
        if number % parallel.count() != parallel.rank():
            continue
        with autocast(device, bf16=bf16):
            logits = network(batch.images.contiguous(memory_format=layout)).logits.float()
        found = logits.argmax(1) == batch.labels
        sums[0] += found.sum()
        if correct is not None:
            correct[batch.samples] = found.to(correct.dtype)
        sums[1] += functional.cross_entropy(logits, batch.labels, reduction="sum")
    network.train(was_training)
    if correct is not None:
        parallel.total(correct)  # each worker has ones in its own batches alone
    share, loss = (parallel.total(sums) / len(split)).tolist()
    return 100 * share, loss
