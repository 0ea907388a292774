import itertools
import math

import numpy as np
import pytest
import torch

from lpstudy.data.augment import augment, placement, positions, view_of
from lpstudy.sample_hash import hash64

WORD = 2**64


def splitmix(state: int) -> int:
    """SplitMix64's next(), as published, in whole numbers of any size."""
    state = (state + 0x9E3779B97F4A7C15) % WORD
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % WORD
    return state ^ (state >> 31)


def test_the_oracle_is_splitmix64():
    # The first two numbers of the reference implementation (prng.di.unimi.it) for seed 1234567.
    assert splitmix(1234567) == 6457827717110365317
    assert splitmix(1234567 + 0x9E3779B97F4A7C15) == 3203168211198807973


def test_the_hash_is_splitmix64_of_the_sample_and_of_each_key():
    samples = [0, 1, 2, 49_999, 2**40, 2**63 - 1]
    expected = [splitmix(splitmix(splitmix(sample) ^ 7) ^ (2**63 - 1)) % 2**63 for sample in samples]
    assert hash64(torch.tensor(samples), 7, 2**63 - 1).tolist() == expected


def test_each_view_is_shown_once_before_any_is_shown_again():
    views = [view_of(seed=3, epoch=epoch, count=162) for epoch in range(1, 325)]
    assert sorted(views[:162]) == sorted(views[162:]) == list(range(162))
    assert views[:162] != views[162:]


def test_seeds_show_views_in_orders_that_agree_by_chance_only():
    one, other = ([view_of(seed=seed, epoch=epoch, count=500) for epoch in range(1, 501)] for seed in (3, 4))
    # Two random orders have one place in common on average; more than 7 in one of 100,000 cases.
    assert sum(a == b for a, b in zip(one, other, strict=True)) <= 7


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pad", [0, 1, 4])
def test_all_views_are_every_crop_and_flip_once(pad, flip):
    count = positions(pad, flip)
    assert count == (2 * pad + 1) ** 2 * (1 + flip)
    for sample in (0, 17):
        samples = torch.full((count,), sample)
        placed = placement(samples, torch.arange(count), pad=pad, flip=flip, seed=9)
        placements = set(zip(*(value.tolist() for value in placed), strict=True))
        side = range(2 * pad + 1)
        assert placements == {(y, x, f) for y in side for x in side for f in {False, flip}}


def test_few_views_do_not_repeat_and_differ_between_samples():
    samples = torch.arange(1000)
    several = torch.stack(
        [
            torch.stack(placement(samples, torch.full_like(samples, view), pad=4, flip=True, seed=0))
            for view in range(8)
        ]
    )
    per_sample = [tuple(map(tuple, several[:, :, sample].tolist())) for sample in range(1000)]
    assert all(len(set(places)) == 8 for places in per_sample)
    # 1,000 draws of 162 first places: 162 * (1 - (161/162)^1000) = 161.7 distinct ones are expected.
    assert len({places[0] for places in per_sample}) > 155


def test_other_data_seeds_place_views_elsewhere():
    samples, views = torch.arange(1000), torch.zeros(1000, dtype=torch.int64)
    (one, _, _), (other, _, _) = (placement(samples, views, pad=4, flip=True, seed=seed) for seed in (0, 1))
    assert (one == other).double().mean().item() == pytest.approx(1 / 9, abs=0.05)


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (5, 3, 6, 9)])
def test_augment_is_a_crop_of_the_padded_image_mirrored_where_flipped(shape):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, shape, dtype=np.uint8)
    dy, dx = generator.integers(0, 5, (2, 5))
    flipped = np.array([True, False, True, False, True])
    expected = []
    for image, y, x, mirror in zip(images, dy, dx, flipped, strict=True):
        padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
        crop = padded[:, y : y + shape[2], x : x + shape[3]]
        expected.append(np.flip(crop, axis=2) if mirror else crop)
    arguments = (torch.from_numpy(value) for value in (images, dy, dx, flipped))
    assert np.array_equal(augment(*arguments, 2).numpy(), np.stack(expected))


def test_neighbouring_views_lie_apart():
    sample = torch.zeros(162, dtype=torch.int64)
    dy, dx, flipped = placement(sample, torch.arange(162), pad=4, flip=True, seed=0)
    place = (dy * 9 + dx + 81 * flipped).tolist()
    steps = {(b - a) % 162 for a, b in itertools.pairwise(place)}
    assert steps == {101}  # the number coprime with 162 nearest to 162 * 0.618 = 100.1
    assert math.gcd(101, 162) == 1
