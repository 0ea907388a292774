import numpy as np
import pytest
import torch

from lpstudy.data.partition import stratified_split, subset_per_class
from lpstudy.sample_hash import hash64

NAMES = tuple("abcdefghij")
LABELS = torch.from_numpy(np.random.default_rng(0).choice(5, size=500, p=[0.4, 0.3, 0.2, 0.08, 0.02]))


def validation(labels: torch.Tensor, fraction: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return stratified_split(labels, fraction, seed=seed, purpose="validation", names=NAMES)


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5])
def test_takes_the_fraction_of_every_class(fraction):
    rest, second = validation(LABELS, fraction)
    assert sorted([*rest.tolist(), *second.tolist()]) == list(range(500))
    expected = np.maximum(1, np.rint(np.bincount(LABELS) * fraction))
    assert np.bincount(LABELS[second], minlength=5).tolist() == expected.tolist()


def test_both_parts_ascend():
    for part in validation(LABELS, 0.3):
        assert part.tolist() == sorted(part.tolist())


def test_a_larger_fraction_takes_the_same_and_more():
    assert {*validation(LABELS, 0.1)[1].tolist()} < {*validation(LABELS, 0.3)[1].tolist()}


def test_more_labels_are_the_same_and_more():
    few, more = (subset_per_class(LABELS, count, seed=0, names=NAMES) for count in (2, 5))
    assert {*few.tolist()} < {*more.tolist()}
    assert np.bincount(LABELS[more]).tolist() == [5] * 5


def test_seeds_choose_differently():
    one, other = validation(LABELS, 0.2, seed=0)[1], validation(LABELS, 0.2, seed=1)[1]
    assert {*one.tolist()} != {*other.tolist()}


def test_choices_for_two_purposes_have_nothing_to_do_with_each_other():
    labels = torch.zeros(10_000, dtype=torch.int64)
    validation_part = {*validation(labels, 0.2)[1].tolist()}
    few = {*subset_per_class(labels, 2000, seed=0, names=NAMES).tolist()}
    assert len(validation_part & few) / 2000 == pytest.approx(0.2, abs=0.05)


def test_takes_the_samples_of_the_smallest_hashes():
    labels = torch.zeros(100, dtype=torch.int64)
    order = np.argsort(hash64(torch.arange(100), 3, 1).numpy())
    assert validation(labels, 0.1, seed=3)[1].tolist() == sorted(order[:10].tolist())


def test_a_split_is_the_same_for_ever():
    assert validation(torch.arange(30) % 3, 0.2)[1].tolist() == [2, 19, 21, 25, 26, 27]


def test_a_class_of_two_gives_one_and_keeps_one():
    rest, second = validation(torch.tensor([0, 0, 1, 1]), 0.01)
    assert (len(rest), len(second)) == (2, 2)


def test_a_class_of_one_is_an_error():
    with pytest.raises(
        ValueError, match="class 'b' has one training sample, a validation part needs a second"
    ):
        validation(torch.tensor([0, 0, 1]), 0.5)


def test_too_few_samples_are_an_error():
    with pytest.raises(
        ValueError, match="labels_per_class is 3, but class 'b' has 2 training samples besides"
    ):
        subset_per_class(torch.tensor([0, 0, 0, 1, 1]), 3, seed=0, names=NAMES)
