"""Finals of the designs of an arm's front."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from lpstudy.ledger import Assignment, Ledger, read_progress
from lpstudy.ledger.front_designs import front_designs
from lpstudy.space import StudySpec

Make = Callable[..., StudySpec]
Open = Callable[[StudySpec], Ledger]

SIZES = [{"family": "convnet", "depth": 2, "width": {"choices": [2, 4, 6, 8, 12, 16]}}]
BUDGET = {"trials": 6, "epochs": 1, "seeds": 2, "pruner": "none"}
ONE_RATE = {"learning_rate": 0.01}


def study(make: Make, front: int | None, **budget: int) -> StudySpec:
    """One arm that tries each width once."""
    finals = {"candidates": 1} | ({} if front is None else {"front": front})
    return make(methods={"bp": {}}, students=SIZES, training=ONE_RATE, budget=BUDGET | budget, finals=finals)


def by_width(run: Assignment, epoch: int) -> float:
    """The wider, the more accurate, but 12 is as accurate as 8."""
    return 50 + min(int(run.values["width"]), 8) + (4 if run.values["width"] == 16 else 0)


def widths(play: Any) -> list[tuple[int, int]]:
    """Seed and width of each final in turn."""
    return [(run.seed, run.values["width"]) for run in play.handed if run.kind == "final"]


def is_on_front(own: tuple[float, float], points: list[tuple[float, float]]) -> bool:
    return not any(one[0] >= own[0] and one[1] <= own[1] and one != own for one in points)


def test_designs_are_of_the_front_and_the_most_accurate_is_the_first() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 4, 9):
        for _ in range(50):
            points = [
                (float(a), float(2**m))
                for a, m in zip(rng.integers(0, 60, 25), rng.uniform(10, 16, 25), strict=True)
            ]
            chosen = [points[place] for place in front_designs(points, count)]
            front = {own for own in points if is_on_front(own, points)}
            assert len(set(chosen)) == len(chosen) == min(count, len(front))
            assert set(chosen) <= front
            assert chosen[0][0] == max(accuracy for accuracy, _ in points)


def test_the_second_and_third_design_are_the_ends_and_the_middle_of_an_even_front() -> None:
    points = [(50.0 + step, 1000.0 * 2**step) for step in range(9)]
    assert front_designs(points, 3) == [8, 0, 4]
    assert set(front_designs(points, 5)) == {0, 2, 4, 6, 8}


def test_no_choice_of_as_many_designs_is_twice_as_spread() -> None:
    """Farthest-first is within a factor of two of the best: Gonzalez (1985), Theor. Comput. Sci. 38."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        steps = np.cumsum(rng.uniform(0.1, 1, (10, 2)), axis=0)
        points = [(float(a), float(np.exp(m))) for a, m in steps]
        scaled = (steps - steps.min(axis=0)) / np.ptp(steps, axis=0)

        def gap(places: list[int], scaled: np.ndarray = scaled) -> float:
            """The farthest that any design of the front lies from a chosen one."""
            return float(np.linalg.norm(scaled[:, None] - scaled[places], axis=2).min(axis=1).max())

        best = min(gap([9, *places]) for places in combinations(range(9), 3))
        assert gap(front_designs(points, 4)) <= 2 * best + 1e-9


def test_of_equal_trials_the_earliest_counts() -> None:
    assert front_designs([(50, 10), (60, 20), (60, 20), (60, 30), (50, 10)], 5) == [1, 0]
    assert front_designs([], 4) == []


@pytest.mark.parametrize(
    ("front", "expected"),
    [(1, [16]), (2, [16, 2]), (None, [16, 2, 6, 4]), (20, [16, 2, 6, 4, 8])],
)
def test_each_design_has_finals_on_every_seed(
    front: int | None, expected: list[int], make: Make, reopen: Open, play: Any, url: str
) -> None:
    play.accuracy = by_width
    ledger = reopen(study(make, front))
    assert ledger.expected_runs == 6 + 2 * min(6, front or 4)
    play.all(ledger)
    finals = widths(play)
    assert next(width for seed, width in finals if seed == 1) == 16
    assert sorted(finals) == sorted((seed, width) for seed in (1, 2) for width in expected)
    assert [seed for seed, _ in finals] == sorted(seed for seed, _ in finals)
    assert ledger.is_complete()
    assert ledger.expected_runs == len(ledger.records()) == read_progress(url, "small").expected_runs


def test_a_study_of_an_earlier_version_stays_finished_and_gets_more_designs_where_its_file_says_so(
    make: Make, reopen: Open, play: Any
) -> None:
    play.accuracy = by_width
    ledger = reopen(study(make, 1))
    play.all(ledger)
    with ledger.engine.begin() as connection:  # as an earlier version left it
        connection.execute(text("DELETE FROM study_user_attributes WHERE key = 'finals'"))
    assert reopen(study(make, None)).is_complete()
    play.handed.clear()
    grown = reopen(study(make, 3))
    assert grown.expected_runs == 8 + 4
    assert grown.growth[-1]["front"] == [1, 3]
    play.all(grown)
    assert sorted(widths(play)) == [(1, 2), (1, 6), (2, 2), (2, 6)]
    assert reopen(study(make, None)).is_complete()


def test_designs_that_further_trials_replace_keep_their_finals(make: Make, reopen: Open, play: Any) -> None:
    play.accuracy = by_width
    play.all(reopen(study(make, 2, trials=3)))
    before = set(widths(play))
    play.handed.clear()
    ledger = reopen(study(make, 2))
    play.all(ledger)
    assert {width for _, width in before | set(widths(play))} >= {2, 16}
    assert not before & set(widths(play))
    assert ledger.is_complete()
