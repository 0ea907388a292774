"""The MACs of a training are the sum over its epochs, whichever terms each of them computes."""

from collections.abc import Mapping

import torch

from lpstudy.training.partial_epoch import dropout_seed
from lpstudy.training.training_macs import TrainingMacs, epoch_loss_macs

STAGES = [{"hint": 1.0}, {"hint": 0.5}, {"kd": 2.0, "hint": 0.0}, {"kd": 1.5, "hint": 0.0}, {"kd": 1.0}, {}]
COSTS = {"hint": 100.25, "kd": 3.0}


def cost(weights: Mapping[str, float]) -> float:
    return sum(COSTS[name] for name, weight in weights.items() if weight)


def test_each_epoch_has_the_cost_of_its_terms_which_is_computed_once_for_each_set() -> None:
    calls: list[Mapping[str, float]] = []

    def count(weights: Mapping[str, float]) -> float:
        calls.append(weights)
        return cost(weights)

    assert epoch_loss_macs(count, STAGES) == (100.25, 100.25, 3.0, 3.0, 3.0, 0)
    assert calls == [STAGES[0], STAGES[2], STAGES[4], STAGES[5]]


def test_the_total_is_three_forward_passes_the_loss_and_the_teacher() -> None:
    macs = TrainingMacs(student=1000, teacher=lambda epoch: 10 * epoch, loss=epoch_loss_macs(cost, STAGES))
    for epochs in range(1, len(STAGES) + 1):
        by_hand = sum(3 * 1000 + 10 * epoch + cost(STAGES[epoch - 1]) for epoch in range(1, epochs + 1))
        assert macs.of_training(epochs, images=50) == 50 * by_hand
        assert macs.of_teacher(epochs, images=50) == 50 * 10 * epochs * (epochs + 1) / 2


def test_each_epoch_of_each_seed_has_its_own_dropout() -> None:
    seeds = {dropout_seed(seed, epoch) for seed in range(20) for epoch in range(1, 21)}
    assert len(seeds) == 400
    assert dropout_seed(3, 7) == dropout_seed(3, 7)
    torch.manual_seed(max(seeds))  # every one is a legal seed
