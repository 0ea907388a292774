"""Mixtures of a batch: torchvision's, drawn by seed, epoch and number of the batch."""

import math

import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from lpstudy.data import Data, DataSpec, Order, Share, load
from lpstudy.data.augment import uniforms
from lpstudy.data.mixing import Mixing, cutmix, mixup, symmetric_beta
from lpstudy.outputs import NO_LABEL, Batch

CPU = torch.device("cpu")
KINDS: dict[str, dict[str, object]] = {
    "mixup": {"mixup": 0.7},
    "cutmix": {"cutmix": 1.0},
    "both": {"mixup": 1.0, "cutmix": 1.0},
}


def digits(**keys: object) -> Data:
    return load(DataSpec.model_validate({"kind": "digits", "labels_per_class": 10, "pad": 1} | keys))


def batches(data: Data, *, seed: int = 0, epoch: int = 1, size: int = 10, **where: object) -> list[Batch]:
    return [*data.train.epoch(Order(seed, epoch, size), device=CPU, **where)]


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 3.5])
def test_shares_have_the_beta_distribution(alpha):
    drawn = uniforms(torch.arange(5000), 2, 1).tolist()
    shares = [symmetric_beta(alpha, *row) for row in drawn]
    assert all(0 <= share <= 1 for share in shares)
    # Rounding to 1 turns shares next to it into it, which the test counts as a jump.
    inner = [share for share in shares if 1e-9 < share < 1 - 1e-9]
    lowest, highest = (stats.beta(alpha, alpha).cdf(edge) for edge in (1e-9, 1 - 1e-9))
    assert len(inner) / 5000 == pytest.approx(highest - lowest, abs=4 * 0.5 / math.sqrt(5000))
    known = stats.kstest(inner, lambda x: (stats.beta(alpha, alpha).cdf(x) - lowest) / (highest - lowest))
    assert known.pvalue > 1e-3


def test_extreme_numbers_give_shares():
    for alpha in (1e-3, 10.0):
        for one in (0.0, 1 - 2**-53):
            for other in (0.0, 0.25, 0.5, 1 - 2**-53):
                assert 0 <= symmetric_beta(alpha, one, other) <= 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.85, 1.0])
def test_images_are_mixed_as_by_torchvision(share):
    images = torch.rand(5, 3, 9, 12)
    parameters = {"labels": None, "batch_size": 5, "lam": share}
    expected = v2.MixUp(num_classes=2).transform(images, parameters)
    torch.testing.assert_close(mixup(images, 1, share), expected)
    for centre in ((0.0, 0.0), (0.4, 0.99), (0.5, 0.5)):
        mixed, true_share = cutmix(images, 1, share, centre)
        y, x = int(centre[0] * 9), int(centre[1] * 12)
        half = 0.5 * math.sqrt(1 - share)
        box = max(x - int(half * 12), 0), max(y - int(half * 9), 0)
        box += min(x + int(half * 12), 12), min(y + int(half * 9), 9)
        expected = v2.CutMix(num_classes=2).transform(images, parameters | {"box": box})
        assert torch.equal(mixed, expected)
        own = (mixed == images).all(dim=(0, 1)).double().mean()
        assert true_share == pytest.approx(float(own))


@pytest.mark.parametrize("kind", KINDS)
def test_labels_and_samples_are_those_of_the_larger_share(kind):
    images = torch.rand(6, 2, 9, 7, dtype=torch.float64)
    plain = Batch(images, torch.arange(6), 100 + torch.arange(6), 4)
    mixing = Mixing(**KINDS[kind])
    kinds, swapped, turns = [], 0, set()
    for number in range(60):
        mixed = mixing.mix(plain, Order(2, 3, 6), number)
        assert mixed.partners is not None
        first, second = mixed.labels, mixed.partners.labels
        assert torch.equal(mixed.samples, 100 + first)
        own, other = images[first], images[second]
        share = (mixed.images - other) / (own - other)  # of the larger one, in each pixel
        assert share.mean() == pytest.approx(float(mixed.partners.own_share), abs=1e-6)
        assert 0.5 <= float(mixed.partners.own_share) <= 1
        is_whole = (share - share.round()).abs().max() < 1e-6  # each pixel is that of one image
        kinds.append("cutmix" if is_whole else "mixup")
        swapped += first[0] != 0
        turns.add(int((second - first)[0]) % 6)
    assert set(kinds) == ({"mixup", "cutmix"} if kind == "both" else {kind})
    assert 12 <= kinds.count("cutmix") <= 48 or kind != "both"
    assert 3 <= swapped <= 48  # a box at the edge is cut: few are more than half
    assert turns == {1, 2, 3, 4, 5}


def same(one: list[Batch], other: list[Batch]) -> bool:
    return all(
        torch.equal(a.images, b.images)
        and torch.equal(a.labels, b.labels)
        and a.partners is not None
        and b.partners is not None
        and torch.equal(a.partners.labels, b.partners.labels)
        and torch.equal(a.partners.own_share, b.partners.own_share)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_seed_epoch_and_number_alone_determine_a_mixture(kind):
    data = digits(**KINDS[kind])
    whole = batches(data)
    assert same(whole, batches(digits(**KINDS[kind])))
    assert same(whole[3:], batches(data, first_batch=3))
    shares = [
        [float(batch.partners.own_share) for batch in batches(data, **key)]
        for key in ({}, {"seed": 1}, {"epoch": 2})
    ]
    assert all(len(set(row)) > 3 for row in shares)  # areas of boxes in 8 x 8 pixels are few
    assert shares[0] != shares[1]
    assert shares[0] != shares[2]


def test_workers_mix_within_their_parts_with_one_share():
    data, plain = digits(mixup=1.0), digits()
    whole = batches(data)
    for rank in range(2):
        parts = batches(data, share=Share(rank, 2))
        unmixed = batches(plain, share=Share(rank, 2))
        for part, part_plain, batch in zip(parts, unmixed, whole, strict=True):
            assert float(part.partners.own_share) == float(batch.partners.own_share)
            assert sorted(part.samples.tolist()) == sorted(part_plain.samples.tolist())


def test_an_image_alone_stays_as_it_is():
    images = torch.rand(1, 1, 4, 4)
    batch = Batch(images, torch.tensor([3]), torch.tensor([7]), 0)
    for mixing in (Mixing(mixup=1.0), Mixing(cutmix=1.0)):
        mixed = mixing.mix(batch, Order(0, 1, 1), 0)
        torch.testing.assert_close(mixed.images, images)
        assert (mixed.labels.item(), mixed.samples.item()) == (3, 7)


def test_a_missing_label_stays_missing_on_either_side():
    data = digits(mixup=1.0, labels_per_class=5, unlabelled="rest")
    for batch in batches(data, size=50)[:5]:
        for labels in (batch.labels, batch.partners.labels):
            assert int((labels == NO_LABEL).sum()) == 25


def test_validation_images_and_a_bank_s_views_are_not_mixed():
    data, plain = digits(mixup=1.0), digits()
    for one, other in ((data.validation, plain.validation), (data.train, plain.train)):
        (a,), (b,) = (part.batches(batch_size=2000, device=CPU) for part in (one, other))
        assert torch.equal(a.images, b.images)
    (a,), (b,) = (d.train.one_view(3, torch.arange(9), batch_size=9, device=CPU) for d in (data, plain))
    assert torch.equal(a.images, b.images)
    assert a.partners is None


def test_mixtures_are_part_of_the_fingerprint():
    keys = [{}, {"mixup": 0.5}, {"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}]
    assert len({digits(**each).fingerprint for each in keys}) == len(keys)
