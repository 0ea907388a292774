"""A list of strings is a fixed hyperparameter, from the study file to the ledger, MLflow and the report."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from typing_extensions import override

from lpstudy.ledger import dump
from lpstudy.methods import METHODS, Loss, Needs, Step, register_method
from lpstudy.methods.loss import cross_entropy
from lpstudy.methods.method import Distillation
from lpstudy.space import Arm, RunSpec, StudySpec, arm_definitions, changed_arms, parse, value_text
from lpstudy.space.json_schema import study_schema
from lpstudy.tables.text import hyperparameters_json
from lpstudy.tracking.run_rows import parse_fixed
from lpstudy.tracking.study_facts import fixed_words

LAYERS = ["conv3", "conv1", "a, b"]


class Pairs(Distillation):
    """Reads some maps; nothing is compared."""

    method: Literal["pairs"] = "pairs"
    layers: Annotated[tuple[str, ...], Field(min_length=1)] = ("conv1",)
    """The teacher's maps."""

    @override
    def teacher_needs(self) -> Needs:
        return Needs(maps=self.layers)

    @override
    def loss(self, step: Step) -> Loss:
        return cross_entropy(step)


@pytest.fixture(autouse=True)
def pairs() -> Iterator[None]:
    register_method(Pairs)
    yield
    del METHODS["pairs"]


def study(**table: object) -> StudySpec:
    network = {"family": "convnet", "depth": 3, "width": 4}
    tables: dict[str, Any] = {
        "name": "small",
        "data": {"kind": "digits"},
        "teacher": network,
        "students": [network],
        "methods": {"pairs": table},
    }
    return parse(tables, "study")


def arm(**table: object) -> Arm:
    (only,) = study(**table).arms()
    return only


def test_keeps_its_order_and_is_not_searched() -> None:
    assert arm(layers=LAYERS).fixed["layers"] == tuple(LAYERS)
    assert arm(layers=LAYERS).searched == {}
    assert arm().fixed["layers"] == ("conv1",)


def test_survives_the_ledger_and_the_json_of_a_run() -> None:
    spec = study(layers=LAYERS)
    stored = parse(dump(spec), "the ledger")
    definitions = arm_definitions(stored)
    assert changed_arms(definitions, arm_definitions(spec)) == []
    assert changed_arms(definitions, arm_definitions(study(layers=LAYERS[::-1]))) != []
    run = stored.arms()[0].resolve({}, epochs=1, seed=0)
    assert RunSpec.model_validate_json(run.model_dump_json()) == run
    assert run.model_dump(mode="json")["method"]["layers"] == LAYERS


def test_survives_mlflow_and_is_readable_in_the_report() -> None:
    one = arm(layers=LAYERS)
    text = value_text(one.fixed["layers"])
    assert text == '["conv3", "conv1", "a, b"]'
    assert parse_fixed(text, one, "layers") == tuple(LAYERS)
    assert fixed_words(one)["layers"] == text
    assert '"layers": ["conv3", "conv1", "a, b"]' in hyperparameters_json(one.fixed)
    with pytest.raises(ValueError, match="list of strings"):
        parse_fixed("[1]", one, "layers")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("conv1", "must be a list of strings but got 'conv1'"),
        ([1, 2], r"must be a list of strings but got \[1, 2\]"),
        ({"choices": ["conv1", "conv2"]}, "cannot be searched, since it is a list: give a list of strings"),
        ([], "at least 1 item"),
    ],
)
def test_anything_else_is_refused_in_one_line(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=rf"methods: pairs\.layers: .*{words}") as caught:
        study(layers=value)
    assert "\n" not in str(caught.value)


def test_is_a_plain_array_in_the_schema() -> None:
    table = study_schema()["properties"]["methods"]["properties"]["pairs"]["properties"]["layers"]
    assert (table["type"], table["items"]) == ("array", {"type": "string"})
    assert "anyOf" not in table
