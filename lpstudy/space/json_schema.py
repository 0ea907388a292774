"""The study file as a JSON schema, for editors that check and complete TOML."""

import ast
import inspect
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from lpstudy.data import DataSpec
from lpstudy.distill import METHODS
from lpstudy.space.student_space import STUDENT_KEYS, StudentSpace
from lpstudy.space.study_spec import METHOD, NAME, UNSEARCHED, Budget, Constraints, StudySpec
from lpstudy.space.teacher_spec import TeacherSpec
from lpstudy.space.training import Training
from lpstudy.students import StudentSpec

Schema = dict[str, Any]
DIALECT = "http://json-schema.org/draft-07/schema#"
"""Of the dialects that editors of TOML know the newest."""


def study_schema() -> Schema:
    """All of a study file."""
    methods = {name: _searched_table(_own(model)) for name, model in METHODS.items()}
    renamed = [_of_method(name, table) for name, table in methods.items()]
    sections: Schema = {
        "name": {
            "type": "string",
            "pattern": f"^{NAME.pattern}$",
            "description": descriptions(StudySpec)["name"],
        },
        "data": _table(DataSpec, _own(DataSpec)),
        "teacher": _table(TeacherSpec, _own(TeacherSpec) | _network(TeacherSpec)),
        "students": {"type": "array", "minItems": 1, "items": _students()},
        "methods": _object(methods, []) | {"minProperties": 1, "additionalProperties": {"anyOf": renamed}},
        "training": _searched_table(_own(Training)),
        "budget": _table(Budget, _own(Budget)),
        "constraints": _table(Constraints, _own(Constraints)),
    }
    needed = [
        name for name, field in StudySpec.model_fields.items() if field.is_required() and name != "name"
    ]
    return {"$schema": DIALECT, "title": "lpstudy study file"} | _object(sections, needed)


def _of_method(name: str, table: Schema) -> Schema:
    """A method's table under a name of its own, which names the method."""
    return table | {"properties": {METHOD: {"const": name}} | table["properties"], "required": [METHOD]}


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """The docstring under each field, on one line; of a field without one, none."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if one is BaseModel or not issubclass(one, BaseModel):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ):
                    found[name] = " ".join(words.split())
    return found


def searchable(schema: Schema, *, log: bool = True) -> Schema:
    """A value, or a range or choices of such values."""
    plain = {key: value for key, value in schema.items() if key not in ("default", "description")}
    choices: Schema = {"type": "array", "items": plain, "minItems": 1, "uniqueItems": True}
    forms = [plain, _object({"choices": choices}, ["choices"])]
    if schema.get("type") in ("integer", "number"):
        step = {"type": schema["type"], "exclusiveMinimum": 0}
        bounds: Schema = {"low": plain, "high": plain, "step": step}
        forms.append(_object(bounds | {"log": {"const": False}}, ["low", "high"]))
        if log:
            forms.append(
                _object({"low": plain, "high": plain, "log": {"const": True}}, ["low", "high", "log"])
            )
    kept = {key: schema[key] for key in ("default", "description") if key in schema}
    return {"anyOf": forms} | kept


def _own(model: type[BaseModel]) -> dict[str, Schema]:
    """The schema of each field, with its description."""
    table, words = model.model_json_schema(), descriptions(model)
    return {
        name: _plain(schema) | ({"description": words[name]} if name in words else {})
        for name, schema in table["properties"].items()
        if name != "method"
    }


def _plain(schema: Mapping[str, Any]) -> Schema:
    """A field's schema without what TOML has not, null, and without what says nothing."""
    made = {key: value for key, value in schema.items() if key not in ("title", "format", "anyOf")}
    if made.get("default", "") is None:
        del made["default"]
    for form in schema.get("anyOf", ()):
        if form.get("type") != "null":
            made |= _plain(form)
    return made


def _network(model: type[BaseModel]) -> dict[str, Schema]:
    """The keys of a network that a section has too; each as the network's own model has it."""
    own = _own(StudentSpec)
    return {key: own[key] for key in model.model_fields if key in own and key != "weights"}


def _students() -> Schema:
    own = _own(StudentSpec)
    fields = {name: own[name] for name in StudentSpace.model_fields}
    sizes = {name: searchable(fields[name], log=False) for name in STUDENT_KEYS}
    return _table(StudentSpace, fields | sizes)


def _searched_table(fields: Mapping[str, Schema]) -> Schema:
    """A section whose keys may be searched, but for lists; none of them is needed."""
    is_fixed = {key: key in UNSEARCHED or field.get("type") == "array" for key, field in fields.items()}
    return _object({k: f if is_fixed[k] else searchable(f) for k, f in fields.items()}, [])


def _table(model: type[BaseModel], fields: Mapping[str, Schema]) -> Schema:
    needed = [name for name, field in model.model_fields.items() if field.is_required() and name in fields]
    return _object(fields, needed)


def _object(properties: Mapping[str, Schema], required: Iterable[str]) -> Schema:
    made: Schema = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    return made | ({"required": list(required)} if required else {})
