"""The reference and the JSON schema of a study file: complete, and as the models read it."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from lpstudy import schema
from lpstudy.command.study_file import EXAMPLE, study_file_markdown
from lpstudy.space import find_study_file, known_studies, parse
from lpstudy.space.json_schema import study_schema

Table = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    table = study_schema()
    Draft7Validator.check_schema(table)
    return Draft7Validator(table)


def example() -> Table:
    return tomllib.loads(EXAMPLE)


def test_the_page_is_what_the_models_say() -> None:
    page = (ROOT / "docs/study-file.md").read_text(encoding="utf-8")
    assert page == study_file_markdown(), "run `lpstudy schema --markdown > docs/study-file.md`"


def test_every_key_has_its_words_and_every_table_its_keys() -> None:
    sections = study_schema()["properties"]
    tables = {name: table for name, table in sections.items() if "properties" in table}
    tables |= {f"methods.{name}": table for name, table in sections["methods"]["properties"].items()}
    tables["students"] = sections["students"]["items"]
    del tables["methods"]
    keys = {
        f"{name}.{key}": field for name, table in tables.items() for key, field in table["properties"].items()
    }
    assert {"data.validation_fraction", "data.streaming", "budget.pruner", "methods.lp.n_neighbors"} <= set(
        keys
    )
    assert [key for key, field in keys.items() if not field.get("description", "").endswith(".")] == []


@pytest.mark.parametrize("study", known_studies())
def test_every_shipped_study_is_valid(study: str, validator: Draft7Validator) -> None:
    table = tomllib.loads(find_study_file(study).read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(table)] == []


def test_the_example_is_a_study(validator: Draft7Validator) -> None:
    validator.validate(example())
    assert len(parse({"name": "example"} | example(), "here").arms()) == 3


def put(section: str, key: str, value: object) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        place: Any = table
        for part in section.split("."):
            place = place[part]
        (place[0] if isinstance(place, list) else place)[key] = value

    return change


PUBLISHED = {"method": "kd", "student": "convnet", "value": 74.9, "source": "a table"}
RIGHT = [
    put("methods.kd", "weight", 1),
    put("methods.kd", "weight", {"low": 0.5, "high": 1.0}),
    put("methods.kd", "weight", {"low": 0.5, "high": 1.0, "log": False, "step": 0.25}),
    put("methods.kd", "weight", {"choices": [0.5, 1]}),
    put("training", "optimizer", {"choices": ["adam", "sgd"]}),
    put("training", "batch_size", {"low": 16, "high": 64, "step": 16}),
    put("training", "precision", "fp32"),
    put("students", "depth", {"low": 2, "high": 4}),
    put("data", "labels_per_class", 20),
    put("data", "root", "somewhere"),
    put("budget", "pruner", "hyperband"),
    put("methods.kd", "start", [{"weight": 0.5}]),
    put("training", "milestones", [0.5, 0.75]),
    lambda table: table.update(search={"sampler": "gp"}),
    lambda table: table.update(published=[PUBLISHED]),
    put("methods", "mine", {"method": "lp", "gamma": 0.5, "kd_weight": {"low": 0.5, "high": 1.0}}),
]
WRONG = [
    put("methods.kd", "start", [{}]),
    put("methods.kd", "start", [0.5]),
    put("training", "milestones", 0.5),
    lambda table: table.update(search={"sampler": "grid"}),
    lambda table: table.update(published=[PUBLISHED | {"value": 101}]),
    lambda table: table.update(published=[{"method": "kd"}]),
    put("methods.kd", "wieght", 1),
    put("methods.kd", "weight", -1),
    put("methods.kd", "weight", "1"),
    put("methods.kd", "weight", {"low": 0.5}),
    put("methods.kd", "weight", {"low": 0.5, "high": 1001.0}),
    put("methods.kd", "weight", {"low": 0.5, "high": 1.0, "log": True, "step": 0.1}),
    put("methods.kd", "weight", {"low": 0.5, "high": 1.0, "step": 0.0}),
    put("methods.kd", "weight", {"choices": []}),
    put("methods.kd", "weight", {"choices": [1.0, 1.0]}),
    put("methods.kd", "method", "kd"),
    put("methods", "mine", {"method": "mystery"}),
    put("methods", "mine", {"method": "kd", "gamma": 0.5}),
    put("methods", "mine", {"gamma": 0.5}),
    put("training", "batch_size", {"low": 16, "high": 64, "step": 0.5}),
    put("training", "checkpoint_seconds", {"low": 1.0, "high": 2.0}),
    put("training", "precision", {"choices": ["fp32", "bf16"]}),
    put("training", "optimizer", {"low": 1, "high": 2}),
    put("students", "width", {"low": 2, "high": 4, "log": True}),
    put("students", "family", "resnext"),
    put("budget", "trials", 0),
    put("budget", "pruner", "asha"),
    put("budget", "epochs", {"low": 1, "high": 2}),
    put("data", "kind", "cifar"),
    put("data", "validation_fraction", 0.6),
    put("teacher", "epochs", "ten"),
    put("constraints", "max_macs", 0),
    lambda table: table.pop("data"),
    lambda table: table.pop("teacher"),
    lambda table: table.pop("students"),
    lambda table: table.pop("methods"),
    lambda table: table["methods"].clear(),
    lambda table: table["methods"].update(kdd={}),
    lambda table: table.update(extra=1),
    lambda table: table.update(name="../elsewhere"),
]


@pytest.mark.parametrize(
    ("change", "right"), [*((change, True) for change in RIGHT), *((change, False) for change in WRONG)]
)
def test_schema_and_models_agree(
    change: Callable[[Table], None], right: bool, validator: Draft7Validator
) -> None:
    table = example()
    change(table)
    assert validator.is_valid(table) is right
    if right:
        parse({"name": "example"} | table, "here")
    else:
        with pytest.raises(ValueError, match="here: "):
            parse({"name": "example"} | table, "here")


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.main([]) == 0
    assert json.loads(capsys.readouterr().out) == study_schema()
    assert schema.main(["--markdown"]) == 0
    assert capsys.readouterr().out == study_file_markdown()
