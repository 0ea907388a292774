"""The study file as a JSON schema, for editors that check and complete TOML."""

import ast
import inspect
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from lpstudy.data import DataSpec
from lpstudy.imported_names import reference_to
from lpstudy.methods import METHODS, Distillation
from lpstudy.one_line import one_line
from lpstudy.space.budget import Budget, Search
from lpstudy.space.cost_settings import CostSettings
from lpstudy.space.finals_settings import FinalsSettings
from lpstudy.space.method_tables import COMPUTE_OF, METHOD, START
from lpstudy.space.published import PublishedResult
from lpstudy.space.shift_settings import ShiftData, ShiftSettings
from lpstudy.space.student_space import STUDENT_KEYS, StudentSpace
from lpstudy.space.study_spec import NAME, UNSEARCHED, Constraints, StudySpec
from lpstudy.space.teacher_spec import TeacherSpec
from lpstudy.space.training import Training
from lpstudy.space.warm_start import WarmStart
from lpstudy.students import StudentSpec

Schema = dict[str, Any]
DIALECT = "http://json-schema.org/draft-07/schema#"
"""The newest dialect that editors of TOML support."""


def study_schema() -> Schema:
    """The schema of a study file."""
    methods = {name: _arm_table(model) for name, model in METHODS.items()}
    arm_tables = [_method_table(name, table) for name, table in methods.items()]
    sections: Schema = {
        "name": {
            "type": "string",
            "pattern": f"^{NAME.pattern}$",
            "description": descriptions(StudySpec)["name"],
        },
        "data": _table(DataSpec, _fields(DataSpec)),
        "teacher": _table(TeacherSpec, _fields(TeacherSpec) | _network(TeacherSpec)),
        "students": {"type": "array", "minItems": 1, "items": _students()},
        "methods": _object(methods, []) | {"minProperties": 1, "additionalProperties": {"anyOf": arm_tables}},
        "training": _searched_table(_fields(Training)),
        "budget": _table(Budget, _fields(Budget)),
        "search": _table(Search, _fields(Search)),
        "constraints": _table(Constraints, _fields(Constraints)),
        "cost": _table(CostSettings, _fields(CostSettings)),
        "shift": _table(ShiftSettings, _fields(ShiftSettings) | _shift_data()),
        "finals": _table(FinalsSettings, _fields(FinalsSettings)),
        "warm_start": _table(WarmStart, _fields(WarmStart)),
        "published": {"type": "array", "items": _table(PublishedResult, _fields(PublishedResult))},
    }
    required = [
        name for name, field in StudySpec.model_fields.items() if field.is_required() and name != "name"
    ]
    return {"$schema": DIALECT, "title": "lpstudy study file"} | _object(sections, required)


def _shift_data() -> dict[str, Schema]:
    """The schema of the tables [[shift.data]]."""
    tables = {key: value for key, value in _fields(ShiftSettings)["data"].items() if key != "items"}
    return {"data": tables | {"items": _table(ShiftData, _fields(ShiftData))}}


def _arm_table(model: type[Distillation]) -> Schema:
    """The table of an arm: the method's hyperparameters and the first points."""
    table = _searched_table(_fields(model))
    point = {"type": "object", "minProperties": 1}
    description = (
        "First points, a table of searched hyperparameters for each; the sampler chooses what a point leaves"
        " open. The published settings belong here."
    )
    start: Schema = {"type": "array", "items": point, "description": description}
    own: Schema = {START: start}
    if not model.model_validate({}).reads_teacher:
        compute = "Another table of [methods]: train for as many epochs as its training MACs allow."
        own[COMPUTE_OF] = {"type": "string", "description": compute}
    return table | {"properties": table["properties"] | own}


def _method_table(name: str, table: Schema) -> Schema:
    """The table of an arm with a free name, which names its method."""
    reference = reference_to(METHODS[name])
    names: Schema = {"const": name} if reference is None else {"enum": [name, reference]}
    return table | {"properties": {METHOD: names} | table["properties"], "required": [METHOD]}


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """The docstring of each field that has one, on one line."""
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base is BaseModel or not issubclass(base, BaseModel):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(docstring))),
                ):
                    texts[name] = one_line(docstring)
    return texts


def searchable(schema: Schema, *, log: bool = True) -> Schema:
    """The schema of a value, or of a range or choices of such values."""
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
    annotations = {key: schema[key] for key in ("default", "description") if key in schema}
    return {"anyOf": forms} | annotations


def _fields(model: type[BaseModel]) -> dict[str, Schema]:
    """The schema of each field, with its description."""
    table, texts = model.model_json_schema(), descriptions(model)
    return {
        name: _plain(schema) | ({"description": texts[name]} if name in texts else {})
        for name, schema in table["properties"].items()
        if name != METHOD or not issubclass(model, Distillation)
    }


def _plain(schema: Mapping[str, Any]) -> Schema:
    """A field's schema without null, which TOML lacks, and without titles and formats."""
    plain = {key: value for key, value in schema.items() if key not in ("title", "format", "anyOf")}
    if plain.get("default", "") is None:
        del plain["default"]
    for form in schema.get("anyOf", ()):
        if form.get("type") != "null":
            plain |= _plain(form)
    return plain


def _network(model: type[BaseModel]) -> dict[str, Schema]:
    """The schemas of a section's keys that describe a network."""
    fields = _fields(StudentSpec)
    return {key: fields[key] for key in model.model_fields if key in fields and key != "weights"}


def _students() -> Schema:
    network = _fields(StudentSpec)
    own = {"methods": _fields(StudentSpace)["methods"]}
    fields = {name: network[name] for name in StudentSpace.model_fields if name in network} | own
    sizes = {name: searchable(fields[name], log=False) for name in STUDENT_KEYS}
    return _table(StudentSpace, fields | sizes)


def _searched_table(fields: Mapping[str, Schema]) -> Schema:
    """A section of optional keys that may be searched, except for lists."""
    is_fixed = {key: key in UNSEARCHED or field.get("type") == "array" for key, field in fields.items()}
    return _object({k: f if is_fixed[k] else searchable(f) for k, f in fields.items()}, [])


def _table(model: type[BaseModel], fields: Mapping[str, Schema]) -> Schema:
    required = [name for name, field in model.model_fields.items() if field.is_required() and name in fields]
    return _object(fields, required)


def _object(properties: Mapping[str, Schema], required: Iterable[str]) -> Schema:
    table: Schema = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    return table | ({"required": list(required)} if required else {})
