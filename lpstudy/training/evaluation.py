"""Accuracy and loss of a network on a split."""

import torch
from torch.nn import functional

from lpstudy.data.split import Split
from lpstudy.outputs import Network
from lpstudy.training import parallel

BATCH = 500
"""Images per evaluation batch."""


@torch.no_grad()
def evaluate(network: Network, split: Split, *, device: torch.device) -> tuple[float, float]:
    """Accuracy in percent and mean cross-entropy in nats; workers share the batches and agree."""
    was_training = network.training
    network.eval()
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for number, batch in enumerate(split.batches(batch_size=BATCH, device=device)):
        if number % parallel.count() != parallel.rank():
            continue
        logits = network(batch.images).logits.float()
        sums[0] += (logits.argmax(1) == batch.labels).sum()
        sums[1] += functional.cross_entropy(logits, batch.labels, reduction="sum")
    network.train(was_training)
    correct, loss = (parallel.total(sums) / len(split)).tolist()
    return 100 * correct, loss
