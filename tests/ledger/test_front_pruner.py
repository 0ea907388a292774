"""Early stopping of trials with two objectives: non-dominated ranks within bands of MACs."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from lpstudy.cost import cost_of
from lpstudy.ledger import Assignment, Done, Ledger
from lpstudy.ledger.front_pruner import RungValue, is_stopped, non_dominated_ranks
from lpstudy.space import StudySpec

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]
Point = tuple[float, float]

EPOCHS, RUNGS, REDUCTION = 32, (4, 16), 4
SIZES = [{"family": "convnet", "depth": 2, "width": {"low": 2, "high": 16}}]


def beats(one: Point, other: Point) -> bool:
    """Whether (accuracy, MACs) is as good in both and better in one."""
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def naive_ranks(points: list[Point]) -> list[int]:
    """The fronts, peeled off one by one."""
    ranks, rest = [0] * len(points), set(range(len(points)))
    rank = 0
    while rest:
        front = {i for i in rest if not any(beats(points[j], points[i]) for j in rest)}
        for i in front:
            ranks[i] = rank
        rest -= front
        rank += 1
    return ranks


def values(points: list[Point]) -> list[RungValue]:
    return [RungValue(accuracy, int(macs)) for accuracy, macs in points]


def drawn(rng: np.random.Generator, trials: int, octaves: int) -> list[Point]:
    """Trials of any accuracy, whose MACs span so many doublings."""
    accuracies, macs = rng.integers(1, 30, trials), 2 ** rng.uniform(10, 10 + octaves, trials)
    return [(float(a), float(int(m))) for a, m in zip(accuracies, macs, strict=True)]


def test_ranks_are_those_of_fronts_peeled_off_one_by_one() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 30):
        for _ in range(20):  # whole numbers, so that many are equal
            points = [(float(a), float(m)) for a, m in rng.integers(1, 8, (size, 2))]
            assert non_dominated_ranks(values(points)).tolist() == naive_ranks(points)


def test_a_trial_stops_where_a_share_of_its_band_has_a_lower_rank() -> None:
    rng = np.random.default_rng(1)
    stopped = 0
    for _ in range(300):
        points = drawn(rng, 12, 3)
        own = points[0]
        band = [own, *(one for one in points[1:] if 0.5 <= one[1] / own[1] <= 2)]
        ranks = naive_ranks(band)
        expected = len(band) >= 4 and sum(rank < ranks[0] for rank in ranks) >= max(1, len(band) // 3)
        trial, *rivals = values(points)
        assert is_stopped(trial, rivals, 3) is expected
        assert is_stopped(trial, rivals[::-1], 3) is expected
        stopped += expected
    assert 50 < stopped < 250


def test_no_trial_of_the_whole_front_is_stopped() -> None:
    rng = np.random.default_rng(2)
    for _ in range(100):
        points = drawn(rng, 20, 6)
        for place, own in enumerate(points):
            others = points[:place] + points[place + 1 :]
            if not any(beats(other, own) for other in others):
                assert not is_stopped(values([own])[0], values(others), 4)


class Surface:
    """Learning curves of 48 designs from 1 to 64 units of MACs: the larger, the more accurate at the end.

    Args:
        trend: How much faster the largest design learns than the smallest one, as a logarithm.
        seed: Seed of the designs and of how good their hyperparameters are.
    """

    def __init__(self, trend: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        size = rng.uniform(0, 1, 48)
        self.macs = np.rint(1e5 * 64**size)
        self.final = 50 + 40 * size**0.7 - rng.gamma(1.5, 3, 48)
        self._speed = 0.15 * np.exp(trend * (size - 0.5) + rng.normal(0, 0.2, 48))

    def at(self, trial: int, epoch: int) -> float:
        reached = (1 - np.exp(-self._speed[trial] * epoch)) / (1 - np.exp(-self._speed[trial] * EPOCHS))
        return float(self.final[trial] * reached)

    def search(self, stops: Callable[[RungValue, list[RungValue]], bool]) -> tuple[list[int], float]:
        """The trials that finish, one after another, and the share of epochs that is saved."""
        reached: dict[int, list[RungValue]] = {rung: [] for rung in RUNGS}
        finished, used = [], 0
        for trial, macs in enumerate(self.macs):
            end = EPOCHS
            for rung in RUNGS:
                value = RungValue(self.at(trial, rung), int(macs))
                is_end = stops(value, reached[rung])
                reached[rung].append(value)
                if is_end:
                    end = rung
                    break
            used += end
            finished += [trial] if end == EPOCHS else []
        return finished, 1 - used / (EPOCHS * len(self.macs))

    def area(self, trials: list[int]) -> float:
        """The area below the front of some trials, over log MACs."""
        area, best = 0.0, 0.0
        order = sorted(trials, key=lambda trial: self.macs[trial])
        edges = [*(np.log(self.macs[trial]) for trial in order), np.log(1e5 * 64)]
        for trial, (left, right) in zip(order, pairwise(edges), strict=True):
            best = max(best, float(self.final[trial]))
            area += best * (right - left)
        return area


def by_front(value: RungValue, rivals: list[RungValue]) -> bool:
    return is_stopped(value, rivals, REDUCTION)


def by_ranks_of_all(value: RungValue, rivals: list[RungValue]) -> bool:
    """MO-ASHA without bands."""
    ranks = naive_ranks([(one.accuracy, float(one.macs)) for one in (value, *rivals)])
    return sum(rank < ranks[0] for rank in ranks) >= max(1, len(ranks) // REDUCTION)


def by_accuracy(value: RungValue, rivals: list[RungValue]) -> bool:
    """Plain successive halving."""
    better = sum(rival.accuracy > value.accuracy for rival in rivals)
    return better >= max(1, (len(rivals) + 1) // REDUCTION)


@pytest.mark.parametrize(
    "trend", [-2.5, 0.0, 2.5], ids=["small ones learn fast", "alike", "large ones learn fast"]
)
def test_the_small_end_of_the_front_survives_where_plain_halving_loses_it(trend: float) -> None:
    rules = {"bands": by_front, "ranks": by_ranks_of_all, "accuracy": by_accuracy}
    areas: dict[str, list[float]] = {name: [] for name in rules}
    small: dict[str, list[float]] = {name: [] for name in rules}
    saved = []
    for seed in range(20):
        surface = Surface(trend, seed)
        points = list(zip(surface.final.tolist(), surface.macs.tolist(), strict=True))
        front = [i for i, own in enumerate(points) if not any(beats(other, own) for other in points)]
        smallest = [trial for trial in front if surface.macs[trial] < 4e5]
        for name, rule in rules.items():
            finished, share = surface.search(rule)
            saved += [share] if name == "bands" else []
            areas[name].append(surface.area(finished) / surface.area(list(range(48))))
            small[name].append(float(np.mean([trial in finished for trial in smallest])))
    assert np.mean(saved) > 0.3
    assert np.mean(small["bands"]) > 0.6 > 0.2 > np.mean(small["accuracy"])
    assert min(areas["bands"]) > 0.9 > 0.8 > np.mean(areas["accuracy"])
    assert np.mean(areas["bands"]) > np.mean(areas["ranks"]) - 0.002
    if trend < 0:  # large ones are dominated early, by what learns faster and is smaller
        assert np.mean(areas["bands"]) > 0.96 > 0.94 > np.mean(areas["ranks"])


def by_width(run: Assignment, epoch: int) -> float:
    """An accuracy that grows with the width, and early and late with other digits of the learning rate."""
    width, rate = int(run.values["width"]), float(run.values["learning_rate"])
    return 40 + width + (rate * 1e5 % 17) * epoch / 8 + (rate * 1e6 % 13) * (1 - epoch / 8)


@pytest.mark.parametrize(
    ("pruner", "rungs"),
    [
        ("halving", [(1, 4)] * 3),
        ("median", [(4, 5, 6, 7)] * 3),
        ("hyperband", [(1, 3), (3,), ()]),
        ("none", [()] * 3),
    ],
)
def test_the_pruner_has_its_rungs_with_two_objectives_too(
    pruner: str, rungs: list[tuple[int, ...]], make: Make, reopen: Open
) -> None:
    budget = {"trials": 4, "epochs": 8 if pruner != "hyperband" else 9, "seeds": 1, "pruner": pruner}
    ledger = reopen(make(methods={"bp": {}}, students=SIZES, budget=budget))
    for expected in rungs:
        run = ledger.next()
        assert isinstance(run, Assignment)
        assert ledger.rungs(run) == expected


def test_a_search_stops_what_the_rule_says_however_often_it_restarts(
    make: Make, reopen: Open, play: Any
) -> None:
    budget = {"trials": 20, "epochs": 8, "seeds": 1, "pruner": "halving"}
    play.accuracy = by_width
    spec = make(methods={"bp": {}}, students=SIZES, budget=budget)
    play.all(reopen(spec))
    undisturbed = {run.number: run for run in play.handed if run.kind == "trial"}
    ledger = reopen(spec)
    epochs = {
        record.assignment.number: len(record.epochs)
        for record in ledger.records()
        if record.assignment.kind == "trial"
    }
    arm = ledger.arms[next(iter(ledger.arms))]
    reached: dict[int, list[Point]] = {1: [], 4: []}
    for number, run in undisturbed.items():
        cost = cost_of(arm.student_spec(run.values), input_shape=(1, 8, 8), classes=10)
        expected = 8
        for rung in (1, 4):
            own = (by_width(run, rung), float(cost.macs))
            rivals, reached[rung] = reached[rung], [*reached[rung], own]
            band = [own, *(one for one in rivals if 0.5 <= one[1] / own[1] <= 2)]
            ranks = naive_ranks(band)
            if len(band) >= 4 and sum(rank < ranks[0] for rank in ranks) >= max(1, len(band) // 4):
                expected = rung
                break
        assert epochs[number] == expected
    assert {1, 4, 8} <= set(epochs.values())
    play.handed.clear()
    other = spec.model_copy(update={"name": "other"})
    ledger = reopen(other)
    while not isinstance(play.one(ledger), Done):
        ledger = ledger if len(play.handed) % 4 else reopen(other)
    repeated = {run.number: dict(run.values) for run in play.handed if run.kind == "trial"}
    assert repeated == {number: dict(run.values) for number, run in undisturbed.items()}


def test_a_study_that_began_without_stops_none(make: Make, reopen: Open, play: Any) -> None:
    budget = {"trials": 3, "epochs": 8, "seeds": 1, "pruner": "halving"}
    play.accuracy = by_width
    spec = make(methods={"bp": {}}, students=SIZES, budget=budget)
    earlier = reopen(spec)
    assert earlier.facts["front_pruner"] is True
    with earlier.engine.begin() as connection:  # as an earlier version left it
        connection.execute(text("DELETE FROM study_user_attributes WHERE key = 'front_pruner'"))
    more = make(methods={"bp": {}}, students=SIZES, budget=budget | {"trials": 16})
    ledger = reopen(more)
    play.all(ledger)
    assert ledger.facts["front_pruner"] is False
    assert {record.state for record in ledger.records()} == {"finished"}
