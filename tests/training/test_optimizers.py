"""The fused optimisers take the steps of torch's plain ones."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn, optim

from lpstudy.space import Training
from lpstudy.training.optimizers import make_optimizer

CPU = torch.device("cpu")
Plain = Callable[[Iterator[nn.Parameter]], optim.Optimizer]
PLAIN: dict[str, Plain] = {
    "sgd": lambda p: optim.SGD(
        p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01, fused=False, foreach=False
    ),
    "adam": lambda p: optim.AdamW(p, lr=0.05, weight_decay=0.01, fused=False, foreach=False),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.05, weight_decay=0.01, foreach=False),
}


class TwoStage(nn.Module):
    """The head gets no gradient in the first three steps, as in FitNet's hint stage."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
        self.head = nn.Linear(3, 4)

    def loss(self, images: Tensor, step: int) -> Tensor:
        """The body's alone, then the whole network's."""
        features = self.body(images).mean(dim=(2, 3))
        output: Tensor = features if step < 3 else self.head(features)
        return output.square().sum()


def network() -> TwoStage:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return TwoStage()


@pytest.mark.parametrize("name", PLAIN)
def test_equals_torchs_plain_one_also_where_gradients_come_later(name: str) -> None:
    training = Training.model_validate({"optimizer": name, "learning_rate": 0.05, "weight_decay": 0.01})
    tested, reference = network(), network()
    pairs = [
        (tested, make_optimizer(tested.parameters(), training, CPU)),
        (reference, PLAIN[name](reference.parameters())),
    ]
    generator = torch.Generator().manual_seed(1)
    before = reference.head.weight.detach().clone()
    for step in range(6):
        images = torch.randn(5, 2, 6, 6, generator=generator)
        for module, optimizer in pairs:
            optimizer.zero_grad(set_to_none=True)
            module.loss(images, step).backward()
            optimizer.step()
        if step == 2:
            assert torch.equal(tested.head.weight, before)
        for parameter, expected in zip(tested.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(parameter, expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(reference.head.weight, before)
