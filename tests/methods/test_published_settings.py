"""Published settings are within the ranges that the docstrings suggest."""

import re

import pytest

from lpstudy.methods import METHODS
from lpstudy.space.json_schema import descriptions

PUBLISHED: dict[str, tuple[dict[str, float], ...]] = {
    "kd": ({"weight": 9.0, "temperature": 4.0}, {"weight": 90.0, "temperature": 2.0}),
    "fm": ({"temperature": 1.0}, {"temperature": 10.0}),
    "dkd": tuple({"alpha": 1.0, "beta": beta, "temperature": 4.0} for beta in (2.0, 6.0, 8.0)),
    "dist": tuple({"beta": 2.0, "gamma": 2.0, "temperature": temperature} for temperature in (1.0, 4.0)),
    "wttm": ({"gamma": 0.1, "weight": 45.0}, {"gamma": 0.2, "weight": 4.0}),
    "fitnet": ({"hint_weight": 200.0},),
    "at": ({"weight": 1000.0},),
    "sp": ({"weight": 3000.0},),
    "pkt": ({"weight": 3e4},),
    "rkd": ({"distance_weight": 25.0, "angle_weight": 50.0},),
    "cc": ({"gamma": 0.4, "order": 2},),
    "crd": ({"weight": 0.8, "nce_temperature": 0.07, "momentum": 0.5},),
    "srrl": ({"feature_weight": 1.0, "regression_weight": 1.0},),
    "reviewkd": tuple({"weight": weight} for weight in (0.6, 1.0, 5.0, 8.0)),
    "simkd": ({"weight": 1.0},),
}
"""Settings of published tables, with CE at weight 1."""


@pytest.mark.parametrize(("name", "values"), [(name, each) for name, of in PUBLISHED.items() for each in of])
def test_published_settings_are_within_the_range_that_the_docstring_gives(
    name: str, values: dict[str, float]
) -> None:
    model = METHODS[name]
    model.model_validate(values)
    words = descriptions(model)
    for key, value in values.items():
        found = re.search(r"search (\d[\d.e]*) to (\d(?:[\d.e]*\d)?)", words[key])
        assert found, f"{key}: {words[key]}"
        low, high = (type(value)(float(bound)) for bound in found.groups())
        assert low <= value <= high
        default = model.model_fields[key].default
        assert low <= default <= high
        model.model_validate({key: low})
        model.model_validate({key: high})
