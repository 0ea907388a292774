"""What is stored of a method of imported code, and its stand-in where that code is not at hand.

A study can then be shown on any machine: its arms, their ranges and defaults, the columns of its report.
"""

import re
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model
from typing_extensions import override

from lpstudy.diagnostic import Diagnostic
from lpstudy.methods.loss import Loss, Step
from lpstudy.methods.method import Distillation, Needs

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
"""What a method and its hyperparameters may be called."""
FieldKind = Literal["integer", "number", "boolean", "string", "list"]
_TYPES: dict[FieldKind, Any] = {
    "integer": int,
    "number": float,
    "boolean": bool,
    "string": str,
    "list": tuple[str, ...],
}
_Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]


class FieldDeclaration(BaseModel):
    """A hyperparameter: its type and its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FieldKind
    default: bool | int | float | str | tuple[str, ...] | None = None


class MethodDeclaration(BaseModel):
    """A method without its code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Name
    fields: dict[_Name, FieldDeclaration]
    diagnostics: tuple[Diagnostic, ...] = ()
    reuses_classifier: bool = False


class StandIn(Distillation):
    """A method whose code is not imported in this process: it can be shown but not trained."""

    @override
    def teacher_needs(self) -> Needs:
        self._refuse()

    @override
    def loss(self, step: Step) -> Loss:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ValueError(f"the code of method {self.method!r} is not imported: give --import FILE")


def declaration_of(model: type[Distillation]) -> MethodDeclaration:
    """The declaration of a method.

    Raises:
        ValueError: A hyperparameter has a type that a study file has not, or a name that is taken.
    """
    fields = {}
    for key, field in model.model_fields.items():
        if key == "method":
            continue
        kind = _kind_of(field.annotation)
        if kind is None:
            raise ValueError(
                f"{model.__name__}.{key}: must be an int, float, bool, str, a Literal of strings or"
                " tuple[str, ...]"
            )
        fields[key] = FieldDeclaration(kind=kind, default=field.default)
    name = model.model_fields["method"].default
    return MethodDeclaration(
        name=name,
        fields=fields,
        diagnostics=model.diagnostics,
        reuses_classifier=model.reuses_classifier,
    )


def stand_in(declaration: MethodDeclaration) -> type[Distillation]:
    """A class with the hyperparameters and diagnostics of a declaration.

    Raises:
        ValueError: A hyperparameter has the name of something else.
    """
    taken = [key for key in declaration.fields if hasattr(Distillation, key) or key in ("method",)]
    if taken:
        raise ValueError(f"{declaration.name}.{taken[0]}: is no name of a hyperparameter")
    fields: dict[str, Any] = {"method": (Literal[declaration.name], declaration.name)}
    for key, field in declaration.fields.items():
        kind = _TYPES[field.kind]
        fields[key] = (kind | None if field.default is None else kind, field.default)
    model: type[StandIn] = create_model(declaration.name, __base__=StandIn, **fields)
    model.diagnostics = declaration.diagnostics
    model.reuses_classifier = declaration.reuses_classifier
    return model


def _kind_of(annotation: object) -> FieldKind | None:
    """The kind of a field's type; None where a study file has no such values."""
    if get_origin(annotation) is Annotated:
        return _kind_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = {_kind_of(part) for part in get_args(annotation) if part is not NoneType}
        return kinds.pop() if len(kinds) == 1 else None
    if get_origin(annotation) is Literal:
        return "string" if all(isinstance(value, str) for value in get_args(annotation)) else None
    return next((kind for kind, type_ in _TYPES.items() if type_ == annotation), None)
