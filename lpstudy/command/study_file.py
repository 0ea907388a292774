"""The reference of a study file's keys, as Markdown, from the same models that read it."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from lpstudy.data import DataSpec
from lpstudy.methods import METHODS
from lpstudy.space import (
    Budget,
    Constraints,
    CostSettings,
    FinalsSettings,
    PublishedResult,
    Search,
    ShiftData,
    ShiftSettings,
    StudentSpace,
    TeacherSpec,
    Training,
    WarmStart,
)
from lpstudy.space.json_schema import study_schema

HEAD = """# The study file

Every key of a study file, from the models that read it: `lpstudy schema --markdown` writes this page, and
a test fails where the two differ. A key that is not here is refused. `lpstudy plan FILE` checks a file
without running anything.

A file has these tables; `[data]`, `[teacher]`, `[[students]]` and at least one `[methods.NAME]` are needed.

```toml
{example}```

A key that says *searched* takes a plain value, which is fixed, or one of

| form | meaning |
|---|---|
| `{{ low = 0.1, high = 2.0 }}` | any number between the two, both included; a whole one where the key is |
| `{{ low = 1e-4, high = 1e-1, log = true }}` | the same, its exponent searched evenly; low above 0 |
| `{{ low = 16, high = 64, step = 16 }}` | low, low + step, ..., high; not together with log |
| `{{ choices = [1, 3, 5] }}` | one of a few values |

A key that takes a list, as of layers or milestones, takes a plain list such as `["conv1", "conv2"]` or
`[30, 60, 80]`: the list is one fixed value, never a set of choices, and cannot be searched. Any other key
refuses a plain list: its choices are `{{ choices = [...] }}`.

A table of `[methods]` has the name of a method below. A table of any other name, a letter and at most 31 more
letters, digits and `_`, says with `method = "..."` which method it is: so one method makes several arms.
Reports call an arm's method by the name of its table.

`start` in such a table names points that the arm's first trials get, each a table of searched
hyperparameters of the method or of `[training]`; the sampler chooses what a point leaves open. So the
published setting is among the trials: `start = [{{ weight = 9.0, temperature = 4.0 }}]`. A value outside of
its range is refused.

`compute_of` in a table of back-prop names another table, whose compute it spends on longer training:
`[methods.bp_long]` with `method = "bp"` and `compute_of = "kd"` trains for so many epochs that its training
MACs are those of `kd` with its share of the teacher's outputs. `lpstudy plan` shows them ([cost](cost.md)).

An arm is a method on a student. It has `trials` trials, or as many as its search space has different points
where those are fewer.

## In an editor

`lpstudy schema > lpstudy.schema.json` writes a JSON schema of all this. Editors that use Taplo (Even Better
TOML for VS Code, `taplo lsp`) check and complete a file whose first line is

```toml
#:schema ./lpstudy.schema.json
```
"""
EXAMPLE = """[data]
kind = "digits"
validation_fraction = 0.25

[teacher]
family = "convnet"
depth = 4
width = 32

[[students]]                                            # one table for each student
family = "convnet"
depth = 3
width = { choices = [4, 6, 8] }                         # a searched size: accuracy and MACs are objectives

[methods.bp]                                            # the baseline; a method's table may be empty

[methods.kd]
weight = { low = 0.05, high = 2.0, log = true }

[methods.lp_kd]                                         # a name of its own
method = "lp"
kd_weight = 1.0

[training]                                              # of every arm
batch_size = 50
learning_rate = { low = 5e-3, high = 5e-2, log = true }

[budget]                                                # of every arm
trials = 10
epochs = 30
seeds = 8

[constraints]
max_parameters = 10000
"""
MODELS: dict[str, type[BaseModel]] = {
    "data": DataSpec,
    "teacher": TeacherSpec,
    "students": StudentSpace,
    "methods": StudentSpace,
    "training": Training,
    "budget": Budget,
    "search": Search,
    "constraints": Constraints,
    "cost": CostSettings,
    "shift": ShiftSettings,
    "finals": FinalsSettings,
    "warm_start": WarmStart,
    "published": PublishedResult,
}


def study_file_markdown() -> str:
    """The whole page."""
    return "\n".join([HEAD.format(example=EXAMPLE), *_sections()]).rstrip() + "\n"


def _sections() -> Iterator[str]:
    schema = study_schema()["properties"]
    yield "## Above all tables\n"
    yield from _table({"name": schema["name"]}, [])
    for name, model in MODELS.items():
        match name:
            case "students" | "published":
                yield from _section(f"[[{name}]]", model, schema[name]["items"])
            case "methods":
                for method, of_method in METHODS.items():
                    yield from _section(f"[methods.{method}]", of_method, schema[name]["properties"][method])
            case _:
                yield from _section(f"[{name}]", model, schema[name])
        if name == "shift":
            yield from _section("[[shift.data]]", ShiftData, schema[name]["properties"]["data"]["items"])


def _section(head: str, model: type[BaseModel], schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"## `{head}`\n"
    yield f"{inspect.cleandoc(model.__doc__ or '').partition(chr(10) * 2)[0]}\n"
    yield from _table(schema["properties"], schema.get("required", []))


def _table(fields: Mapping[str, Any], required: list[str]) -> Iterator[str]:
    if not fields:
        yield "No keys.\n"
        return
    yield "| key | takes | default | meaning |\n|---|---|---|---|"
    for name, field in fields.items():
        default = "needed" if name in required else _default(field)
        words = str(field["description"]).replace("|", "\\|")
        yield f"| `{name}` | {_takes(field)} | {default} | {words} |"
    yield ""


def _default(field: Mapping[str, Any]) -> str:
    match field.get("default"):
        case None:
            return ""
        case bool(value):
            return f"`{str(value).lower()}`"
        case str(value):
            return f'`"{value}"`'
        case float(value):
            return f"`{value:.4g}`"
        case value:
            return f"`{value}`"


def _takes(field: Mapping[str, Any]) -> str:
    """The values that a key takes, in words."""
    if "anyOf" in field:
        return f"{_takes(field['anyOf'][0])}; searched"
    match field:
        case {"oneOf": [number, {"type": "object", "properties": keys}]}:
            return f"{_takes(number)}; or a table of {' and '.join(keys)}"
        case {"oneOf": [names, _]}:
            return f"{_takes(names)} or `module:name`"
        case {"const": value}:
            return f'`"{value}"`'
        case {"enum": values}:
            return ", ".join(f'`"{value}"`' for value in values)
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"type": "string"}:
            return "text"
        case {"type": ["string", "array"]}:
            return "text, or a list of texts"
        case {"type": "array", "items": {"type": "object"}}:
            return "list of tables"
        case {"type": "array", "items": items}:
            return f"list of {_takes(items)}"
        case {"type": ["integer", "string"]}:
            return ", ".join(["whole number", *_bounds(field), 'or `"all"`'])
        case {"type": kind}:
            word = "whole number" if kind == "integer" else "number"
            return ", ".join([word, *_bounds(field)])
        case _:
            raise ValueError(f"no words for {field}")


def _bounds(field: Mapping[str, Any]) -> Iterator[str]:
    """Limits, but for those of the number format."""
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    for key, word in words.items():
        if key in field and abs(field[key]) < 2**62:
            yield f"{word} {field[key]:g}"
