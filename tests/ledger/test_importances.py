"""Importances find the hyperparameter that carries the variance."""

import numpy as np
import pytest

from lpstudy.ledger import hyperparameter_importances
from lpstudy.space import parse


@pytest.fixture
def arm():
    kd = {"weight": {"low": 0.1, "high": 10.0, "log": True}, "temperature": {"low": 1.0, "high": 8.0}}
    table = {
        "name": "a",
        "data": {"kind": "digits"},
        "teacher": {"family": "convnet", "depth": 4, "width": 32},
        "students": [{"family": "convnet", "depth": 3, "width": 4}],
        "methods": {"kd": kd},
    }
    return parse(table, "a").arms()[0]


def trials(effect, n=24):
    rng = np.random.default_rng(3)
    points = [{"weight": 10 ** rng.uniform(-1, 1), "temperature": rng.uniform(1, 8)} for _ in range(n)]
    return [(point, float(effect(point) + rng.normal(0, 0.1))) for point in points]


def test_the_one_that_carries_the_variance_comes_first(arm):
    found = hyperparameter_importances(arm, trials(lambda point: np.log10(point["weight"])))
    assert sum(found.values()) == pytest.approx(1)
    assert found["weight"] > 0.8
    found = hyperparameter_importances(arm, trials(lambda point: point["temperature"]))
    assert found["temperature"] > 0.8


def test_equal_accuracies_have_none(arm):
    points = [(point, 90.0) for point, _ in trials(lambda point: 0)]
    assert hyperparameter_importances(arm, points) == {}
