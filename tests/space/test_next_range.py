"""The range to search next is one that the same study file may have."""

import copy
import tomllib

import pytest

from lpstudy.space import Range, parse, read_study
from lpstudy.space.next_range import next_range, sharing, toml_words
from lpstudy.space.study_toml import find_study_file

STUDIES = ("digits", "mnist", "cifar100", "imagenet")


def with_range(table, arm, key, space):
    table = copy.deepcopy(table)
    if key in ("depth", "width"):
        place = next(
            student for student in table["students"] if isinstance(student.get("width"), dict | int)
            and isinstance(student.get(key), dict)
        )  # fmt: skip
        place[key] = space
    elif key in table["methods"][arm.method]:
        table["methods"][arm.method][key] = space
    else:
        table["training"][key] = space
    return table


@pytest.mark.parametrize("name", STUDIES)
def test_every_suggestion_parses_in_the_place_of_the_old_range_and_goes_beyond_it(name):
    table = tomllib.loads(find_study_file(name).read_text())
    table.setdefault("name", name)
    parse(copy.deepcopy(table), name)
    seen, suggestions = set(), 0
    arms = read_study(name).arms()
    for arm in arms:
        for key, space in arm.searched.items():
            if not isinstance(space, Range) or (arm.method, key, str(space)) in seen:
                continue
            seen.add((arm.method, key, str(space)))
            for upwards in (False, True):
                found = next_range(sharing(arm, key, arms), key, upwards=upwards)
                if found is None:
                    continue
                suggestions += 1
                words = toml_words(found, integer=arm.integer(key))
                new = tomllib.loads(f"range = {words}")["range"]
                parse(with_range(table, arm, key, new), name)  # raises where it is not valid
                assert new["high"] > space.high if upwards else new["low"] < space.low
                assert new.get("log", False) == space.log
    assert suggestions > len(seen)  # of two ends each


def arms_of(**methods):
    table = {
        "name": "a",
        "data": {"kind": "digits"},
        "teacher": {"family": "convnet", "depth": 4, "width": 32},
        "students": [{"family": "convnet", "depth": 3, "width": 4}],
        "methods": methods,
        "training": {"batch_size": 32},
    }
    return parse(table, "a").arms()


def test_a_range_moves_by_half_its_width_on_its_own_scale():
    arms = arms_of(
        kd={"weight": {"low": 0.1, "high": 10.0, "log": True}, "temperature": {"low": 2.0, "high": 6.0}}
    )
    assert (next_range(arms, "weight", upwards=True).low, next_range(arms, "weight", upwards=True).high) == (
        1,
        100,
    )
    assert (
        next_range(arms, "weight", upwards=False).low,
        next_range(arms, "weight", upwards=False).high,
    ) == (
        0.01,
        1,
    )
    assert (
        next_range(arms, "temperature", upwards=True).low,
        next_range(arms, "temperature", upwards=True).high,
    ) == (4, 8)


def test_a_first_point_stays_inside():
    arms = arms_of(kd={"weight": {"low": 0.1, "high": 10.0, "log": True}, "start": [{"weight": 0.2}]})
    assert next_range(arms, "weight", upwards=True).low == 0.1
    assert next_range(arms, "weight", upwards=True).high == 100


def test_a_hyperparameter_at_its_own_bound_goes_no_further():
    arms = arms_of(fitnet={"hint_fraction": {"low": 0.1, "high": 0.99}})
    assert next_range(arms, "hint_fraction", upwards=True) is None
    assert next_range(arms, "hint_fraction", upwards=False).low > 0


def test_neighbours_stay_below_the_batch():
    arms = arms_of(lp={"n_neighbors": {"low": 10, "high": 29}})
    found = next_range(arms, "n_neighbors", upwards=True)
    assert found is not None
    assert 29 < found.high < 32
    assert isinstance(found.high, int)


def test_steps_stay_on_their_grid():
    arms = arms_of(kd={"temperature": {"low": 1.0, "high": 3.0, "step": 0.5}})
    found = next_range(arms, "temperature", upwards=True)
    assert (found.low, found.high, found.step) == (2.0, 4.0, 0.5)
    assert toml_words(found, integer=False) == "{ low = 2, high = 4, step = 0.5 }"
