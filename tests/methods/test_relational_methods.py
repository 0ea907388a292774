"""Losses of relations and of attention against loops in NumPy float64, written from the papers' formulas."""

import math

import numpy as np
import pytest
import torch

from lpstudy.methods.at import AT, at_loss
from lpstudy.methods.cc import cc_loss
from lpstudy.methods.map_pairs import spread
from lpstudy.methods.pkt import pkt_loss
from lpstudy.methods.reductions import attention
from lpstudy.methods.rkd import RKD, TRIPLES, angle_loss, distance_loss
from lpstudy.methods.sp import SP, sp_loss
from lpstudy.students import StudentSpec, build
from lpstudy.testing import SmallNetwork

GENERATOR = np.random.default_rng(1)
SAMPLES = 6
STUDENT = GENERATOR.normal(size=(SAMPLES, 4)) + 0.5
TEACHER = GENERATOR.normal(size=(SAMPLES, 9)) * 2
ALL = range(SAMPLES)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def huber(x: float) -> float:
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def pkt() -> float:
    def probability(features: np.ndarray, i: int, j: int) -> float:
        kernel = [(cosine(features[i], features[other]) + 1) / 2 for other in ALL]
        return kernel[j] / sum(kernel)

    total = 0.0
    for i in ALL:
        for j in ALL:
            p, q = probability(TEACHER, i, j), probability(STUDENT, i, j)
            total += p * math.log(p / q)
    return total / SAMPLES**2


def sp() -> float:
    total = 0.0
    for i in ALL:
        rows = [np.array([features[i] @ features[j] for j in ALL]) for features in (STUDENT, TEACHER)]
        one, other = (row / np.linalg.norm(row) for row in rows)
        total += float(((one - other) ** 2).sum())
    return total / SAMPLES**2


def distances() -> float:
    def relative(features: np.ndarray) -> list[list[float]]:
        of = [[float(np.linalg.norm(features[i] - features[j])) for j in ALL] for i in ALL]
        mean = sum(map(sum, of)) / (SAMPLES * (SAMPLES - 1))
        return [[distance / mean for distance in row] for row in of]

    mine, theirs = relative(STUDENT), relative(TEACHER)
    return sum(huber(mine[i][j] - theirs[i][j]) for i in ALL for j in ALL) / SAMPLES**2


def angles() -> float:
    def angle(features: np.ndarray, i: int, j: int, k: int) -> float:
        return 0.0 if i in (j, k) else cosine(features[j] - features[i], features[k] - features[i])

    triples = [(i, j, k) for i in ALL for j in ALL for k in ALL]
    return sum(huber(angle(STUDENT, *one) - angle(TEACHER, *one)) for one in triples) / SAMPLES**3


def cc() -> float:
    def kernel(features: np.ndarray, i: int, j: int) -> float:
        x = cosine(features[i], features[j])
        return math.exp(-0.8) * sum(0.8**p / math.factorial(p) * x**p for p in range(4))

    return sum((kernel(STUDENT, i, j) - kernel(TEACHER, i, j)) ** 2 for i in ALL for j in ALL) / SAMPLES**2


LOSSES = {
    "pkt": (pkt_loss, pkt, 1e-4),  # 1e-7 is added to each probability
    "sp": (sp_loss, sp, 1e-12),
    "distances": (distance_loss, distances, 1e-12),
    "angles": (angle_loss, angles, 1e-12),
    "cc": (lambda mine, theirs: cc_loss(mine, theirs, gamma=0.4, order=3), cc, 1e-12),
}
parametrized = pytest.mark.parametrize("name", LOSSES)


@parametrized
def test_equals_loops_over_the_samples(name: str) -> None:
    loss, oracle, rel = LOSSES[name]
    assert float(loss(torch.tensor(STUDENT), torch.tensor(TEACHER))) == pytest.approx(oracle(), rel=rel)


@parametrized
def test_every_part_of_the_gradient_is_that_of_finite_differences(name: str) -> None:
    loss, _, _ = LOSSES[name]
    teacher = torch.tensor(TEACHER)
    leaf = torch.tensor(STUDENT, requires_grad=True)
    assert torch.autograd.gradcheck(lambda features: loss(features, teacher), leaf)


@parametrized
def test_is_zero_for_the_teachers_own_features_and_for_one_sample(name: str) -> None:
    loss, _, _ = LOSSES[name]
    teacher = torch.tensor(TEACHER)
    assert float(loss(teacher.clone(), teacher)) == pytest.approx(0, abs=1e-14)
    alone = torch.tensor(STUDENT[:1], requires_grad=True)
    value = loss(alone, teacher[:1])
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-14)
    assert alone.grad is not None
    assert alone.grad.abs().max() < 1e-12


@parametrized
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_features_twice_in_a_batch_have_a_finite_gradient_of_usual_size(name: str, offset: float) -> None:
    loss, _, _ = LOSSES[name]
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(16, 8, generator=generator) + offset
    teacher = torch.randn(16, 12, generator=generator) + offset

    def gradient(rows: torch.Tensor) -> torch.Tensor:
        leaf = features[rows].requires_grad_()
        loss(leaf, teacher).backward()  # the teacher tells them apart
        assert leaf.grad is not None
        return leaf.grad

    twice = gradient(torch.arange(16) // 2)
    assert twice.isfinite().all()
    assert twice.norm() < 10 * gradient(torch.arange(16)).norm()


@parametrized
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(name: str, dtype: torch.dtype) -> None:
    loss, _, _ = LOSSES[name]
    student, teacher = torch.tensor(STUDENT).to(dtype).float(), torch.tensor(TEACHER).to(dtype).float()
    outside = loss(student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(student, teacher)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


def test_angles_are_the_same_however_many_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for many in (1, 2 * SAMPLES**2, 10**6):
        monkeypatch.setitem(TRIPLES, "cpu", many)
        leaf = torch.tensor(STUDENT, requires_grad=True)
        loss = angle_loss(leaf, torch.tensor(TEACHER))
        results.append((float(loss.detach()), torch.autograd.grad(loss, leaf)[0]))
    for value, gradient in results[1:]:
        assert value == pytest.approx(results[0][0], rel=1e-12)
        torch.testing.assert_close(gradient, results[0][1])


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_an_angle_at_a_sample_that_is_there_twice_is_0(offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    twice = torch.arange(12) // 2
    student = (torch.randn(6, 5, generator=generator) + offset)[twice]
    teacher = (torch.randn(6, 7, generator=generator) - offset)[twice]

    def units(features: torch.Tensor) -> torch.Tensor:
        exact = features.double()
        return torch.nn.functional.normalize(exact[None] - exact[:, None], dim=2)  # of a zero: zero

    one, other = (torch.einsum("ijc,ikc->ijk", units(rows), units(rows)) for rows in (student, teacher))
    expected = torch.nn.functional.smooth_l1_loss(one, other)
    assert float(angle_loss(student, teacher)) == pytest.approx(float(expected), rel=1e-4)


def test_no_distance_and_no_angle_has_a_unit() -> None:
    student, teacher = torch.tensor(STUDENT), torch.tensor(TEACHER)
    for loss in (distance_loss, angle_loss):
        assert float(loss(student * 100 + 7, teacher / 9)) == pytest.approx(float(loss(student, teacher)))


def test_a_term_of_rkd_with_weight_0_is_left_out() -> None:
    assert RKD(angle_weight=0.0).weights(0.0) == {"distance": 2.5}
    assert RKD(distance_weight=0.0).weights(0.0) == {"angle": 5.0}


def by_hand(maps: np.ndarray) -> list[np.ndarray]:
    energies = [(one**2).mean(axis=0) for one in maps]
    return [energy / np.linalg.norm(energy) for energy in energies]


def test_attention_maps_of_one_size_are_compared_place_by_place() -> None:
    mine, theirs = GENERATOR.normal(size=(3, 2, 4, 5)), GENERATOR.normal(size=(3, 7, 4, 5))
    expected = np.mean([(a - b) ** 2 for a, b in zip(by_hand(mine), by_hand(theirs), strict=True)])
    found = at_loss(torch.tensor(mine), attention(torch.tensor(theirs)))
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


def test_attention_maps_of_two_sizes_are_compared_in_the_smaller_one() -> None:
    mine, theirs = GENERATOR.normal(size=(3, 2, 4, 6)), GENERATOR.normal(size=(3, 7, 2, 3))

    def halved(values: np.ndarray) -> np.ndarray:
        means = np.array(
            [[values[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(3)] for i in range(2)]
        )
        return means / np.linalg.norm(means)

    pairs = list(zip(by_hand(mine), by_hand(theirs), strict=True))
    expected = np.mean([(halved(a) - b) ** 2 for a, b in pairs])
    assert float(at_loss(torch.tensor(mine), attention(torch.tensor(theirs)))) == pytest.approx(
        float(expected)
    )
    assert float(at_loss(torch.tensor(theirs), attention(torch.tensor(mine)))) == pytest.approx(
        float(expected)
    )
    # Neither is smaller in both directions.
    assert at_loss(torch.tensor(mine), attention(torch.tensor(mine.transpose(0, 1, 3, 2)))).isfinite()


@pytest.mark.parametrize(
    ("names", "count", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcdefghi", 3, "cfi"),
        ("abcd", 3, "bcd"),
        ("abcde", 1, "e"),
        ("ab", 3, "ab"),
        ("", 3, ""),
    ],
)
def test_default_maps_are_spread_evenly_and_end_with_the_last(names: str, count: int, expected: str) -> None:
    assert "".join(spread(tuple(names), count)) == expected


DEFAULTS: dict[str, tuple[StudentSpec, int, str]] = {
    "fitnet1": (StudentSpec(family="maxout", design="fitnet1"), 32, "conv2 conv5 conv8"),
    "convnet": (StudentSpec(family="convnet", depth=6, width=2), 16, "conv2 conv4 conv6"),
    "vgg8": (StudentSpec(family="vgg", depth=8, width=4), 32, "group2 group3 group5"),
    "resnet8": (StudentSpec(family="resnet", depth=8, width=1), 16, "group1 group2 group3"),
}
"""Networks, sides of their images, and the last stages of their three deepest resolutions."""


@pytest.mark.parametrize("name", DEFAULTS)
def test_default_maps_are_the_last_of_the_deepest_resolutions(name: str) -> None:
    spec, side, maps = DEFAULTS[name]
    network = build(spec, input_shape=(3, side, side), classes=4)
    other = build(DEFAULTS["resnet8"][0], input_shape=(3, side, side), classes=4)
    method = AT().resolved(network, other)
    assert method.layers == tuple(maps.split())
    assert method.teacher_layers == ("group1", "group2", "group3")
    assert SP().resolved(network, other).pairs() == [(maps.split()[-1], "group3")]


def test_maps_are_paired_and_counted() -> None:
    student, teacher = SmallNetwork(4, 6), SmallNetwork(6, 11)
    assert AT().resolved(student, teacher).pairs() == [("conv1", "conv1"), ("conv3", "conv3")]
    student.input_shape = teacher.input_shape = None  # no resolutions: maps are spread evenly
    assert AT().resolved(student, teacher).pairs() == [(f"conv{i}", f"conv{i}") for i in (1, 2, 3)]
    assert SP().resolved(student, teacher).pairs() == [("conv3", "conv3")]
    assert SP(layers=("conv1", "conv2")).resolved(student, teacher).teacher_layers == ("conv2", "conv3")
    assert AT(teacher_layers=("conv1",)).resolved(student, teacher).layers == ("conv3",)
    assert AT(layers=("conv1", "conv1"), teacher_layers=("conv1", "conv2")).student_maps() == ("conv1",)
    with pytest.raises(ValueError, match=r"layers: must be as many as teacher_layers, .* but are 2 and 1"):
        AT(layers=("conv1", "conv2"), teacher_layers=("conv1",)).resolved(student, teacher)
    with pytest.raises(ValueError, match="the teacher has no layer 'pool'"):
        AT(layers=("conv1",), teacher_layers=("pool",)).resolved(student, teacher)
    with pytest.raises(ValueError, match=r"needs a map of the student, one of conv1, .*, not 'embedding'"):
        SP(layers=("embedding",)).resolved(student, teacher)
    with pytest.raises(ValueError, match=r"call method\.resolved"):
        AT().pairs()
