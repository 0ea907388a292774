"""The ranges of every method's hyperparameters; those of a new method are found by themselves."""

import math

import pytest
from pydantic import ValidationError

from lpstudy.methods import METHODS

NUMBERS = [
    pytest.param(name, key, id=f"{name}.{key}")
    for name, model in METHODS.items()
    for key, field in model.model_fields.items()
    if field.annotation in (int, float)
]


def bounds(name: str, key: str) -> dict[str, float]:
    schema = METHODS[name].model_json_schema()["properties"][key]
    return {rule: schema[rule] for rule in schema if "inimum" in rule or "aximum" in rule}


@pytest.mark.parametrize("name", METHODS)
def test_an_unknown_hyperparameter_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="momentun"):
        METHODS[name].model_validate({"momentun": 0.9})


@pytest.mark.parametrize(("name", "key"), NUMBERS)
def test_a_number_out_of_its_range_is_refused_with_the_rule_and_the_value(name: str, key: str) -> None:
    rules = bounds(name, key)
    assert len(rules) == 2, f"{key} must have a lower and an upper bound but has {rules}"
    for rule, bound in rules.items():
        whole = METHODS[name].model_fields[key].annotation is int
        beyond = 1 if whole else 1e-3 * (abs(bound) or 1)
        value = bound if rule.startswith("exclusive") else bound + (beyond if "aximum" in rule else -beyond)
        with pytest.raises(ValidationError) as caught:
            METHODS[name].model_validate({key: value})
        (error,) = caught.value.errors()
        assert error["loc"] == (key,)
        assert float(error["msg"].split()[-1]) == bound
        assert error["input"] == value
        assert "\n" not in error["msg"]


@pytest.mark.parametrize(("name", "key"), NUMBERS)
def test_both_ends_of_a_range_are_taken(name: str, key: str) -> None:
    for rule, bound in bounds(name, key).items():
        inward = 0 if not rule.startswith("exclusive") else 1e-6 * (1 if "inimum" in rule else -1)
        assert getattr(METHODS[name].model_validate({key: bound + inward}), key) == bound + inward


@pytest.mark.parametrize(("name", "key"), NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, "1", True, None])
def test_what_is_no_number_is_refused(name: str, key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        METHODS[name].model_validate({key: value})


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("kd", "weight", -0.1),
        ("kd", "temperature", 0),
        ("fitnet", "hint_fraction", 1),
        ("fitnet", "hint_weight", 0),
        ("fitnet", "kd_end_fraction", -1),
        ("fitnet", "kd_end_fraction", 1.1),
        ("fitnet", "mode", "three_stage"),
        ("fitnet", "hint", ""),
        ("lp", "gamma", -1e-9),
        ("lp", "n_neighbors", 0),
        ("lp", "n_neighbors", 2.5),
        ("lp", "bandwidth", 0),
        ("lp", "ramp", 1.1),
        ("lp", "layer", ""),
        ("lp", "kd_weight", -1),
        ("lp", "kd_temperature", -4),
    ],
)
def test_these_values_are_refused(name: str, key: str, value: object) -> None:
    with pytest.raises(ValidationError, match=key):
        METHODS[name].model_validate({key: value})
