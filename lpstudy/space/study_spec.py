"""The models of a study file: data, teacher, students, methods with their ranges, budget and constraints."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lpstudy.data import DataSpec
from lpstudy.distill import METHODS, Distillation
from lpstudy.distill.soft_targets import FeatureMethod
from lpstudy.space.arm import Arm
from lpstudy.space.imported_code import ImportedFile
from lpstudy.space.ranges import (
    Choices,
    Fixed,
    Range,
    Searchable,
    check_corners,
    corners,
    list_element,
    read_list,
    read_searchable,
)
from lpstudy.space.student_space import StudentSpace
from lpstudy.space.teacher_spec import TeacherSpec
from lpstudy.space.training import Training

PRUNERS = Literal["median", "halving", "none"]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Pattern of a study's name, which also names its folder and its MLflow experiment."""
ARM_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
"""Pattern of a table's name in [methods], which is part of the names of folders and runs."""
METHOD = "method"
"""The key by which a table of [methods] with a free name names its method."""
COMMON_KEYS = tuple(Distillation.model_fields)
"""The hyperparameters that every method has, and its name."""
UNSEARCHED = {"checkpoint_seconds": "it changes no result", "precision": "all runs share it"}
"""Keys of [training] that cannot be searched, with the reason."""


class Budget(BaseModel):
    """The budget of each arm."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    trials: Annotated[int, Field(ge=1)] = 8
    """Trials per arm, without infeasible designs; at most the number of points in the arm's search space."""
    epochs: Annotated[int, Field(ge=1)] = 30
    """Epochs of each trial and each final."""
    seeds: Annotated[int, Field(ge=1)] = 5
    """Number of finals per arm: its best trial is trained again with seeds 1, 2, ..."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Hours of a sweep after which no trial starts; running trials finish."""
    pruner: PRUNERS = "median"
    """Optuna's rule for stopping weak trials early. A trial waits for its decision after some epochs: median
    from half of the epochs on, halving from an eighth. Arms with two objectives are never pruned."""


class Constraints(BaseModel):
    """Limits of a student's multiply-accumulates per image and of its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_macs: Annotated[int, Field(gt=0)] | None = None
    """Largest number of multiply-accumulates of one image's forward pass."""
    max_parameters: Annotated[int, Field(gt=0)] | None = None
    """Largest number of learned weights."""

    def excess(self, *, macs: int, parameters: int) -> dict[str, float]:
        """The relative excess over each limit, value / limit - 1; empty without limits."""
        pairs = {"macs": (macs, self.max_macs), "parameters": (parameters, self.max_parameters)}
        return {name: value / limit - 1 for name, (value, limit) in pairs.items() if limit is not None}


class StudySpec(BaseModel):
    """One study file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    """Name of the study, its folder and its MLflow experiment; by default the file's name without .toml."""
    data: DataSpec
    teacher: TeacherSpec
    students: tuple[StudentSpace, ...] = Field(min_length=1, strict=False)
    methods: dict[str, dict[str, Any]] = Field(min_length=1)
    training: dict[str, Any] = Field(default_factory=dict)
    budget: Budget = Budget()
    constraints: Constraints = Constraints()
    imported: tuple[ImportedFile, ...] | None = Field(default=None, min_length=1, strict=False)
    """The code of one's own that the study uses; a flag names it, never the study file."""

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(f"must be 1 to 64 letters, digits, - and _ but got {name!r}")
        return name

    @field_validator("students", mode="before")
    @classmethod
    def _students(cls, tables: object) -> object:
        if not isinstance(tables, list | tuple):
            raise ValueError("must be a list of tables, each headed [[students]]")
        return tables

    @field_validator("training", mode="before")
    @classmethod
    def _training(cls, table: object) -> dict[str, Searchable]:
        training = _read_table(Training, table)
        for key, reason in UNSEARCHED.items():
            if isinstance(training.get(key), Range | Choices):
                raise ValueError(f"{key}: cannot be searched, since {reason}")
        return training

    @field_validator("methods", mode="before")
    @classmethod
    def _methods(cls, tables: object) -> dict[str, dict[str, Searchable]]:
        if not isinstance(tables, Mapping):
            raise ValueError("must be a table of methods")
        loss_of = {name: _loss_of(str(name), table) for name, table in tables.items()}
        methods: dict[str, dict[str, Searchable]] = {}
        for name, table in tables.items():
            loss = loss_of[name]
            try:
                methods[name] = _read_method(loss, table) | ({METHOD: loss} if loss != name else {})
            except ValueError as error:
                separator = "." if isinstance(table, Mapping) else ": "
                raise ValueError(f"{name}{separator}{error}") from None
        return methods

    @model_validator(mode="after")
    def _check_methods(self) -> Self:
        default = Training().batch_size
        smallest = min(int(values.get("batch_size", default)) for values in corners(self.training))
        for name, table in self.methods.items():
            model = METHODS[table.get(METHOD, name)]
            for values in corners(model.model_validate({}).model_dump() | table):
                try:
                    model.model_validate(values).check(batch_size=smallest)
                except ValueError as error:
                    raise ValueError(f"methods.{name}.{error}") from None
        return self

    @model_validator(mode="after")
    def _check_training(self) -> Self:
        for values in corners(self.training):
            try:
                Training.model_validate(values).check(self.budget.epochs)
            except ValueError as error:
                raise ValueError(f"training.{error}") from None
        return self

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        labels = [student.label for student in self.students]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"students: {label} is given twice")
        return self

    def arms(self) -> tuple[Arm, ...]:
        """Each method on each student, in the order of the students."""
        return tuple(self._arms())

    def _arms(self) -> Iterator[Arm]:
        training = Training().model_dump() | self.training
        for student in self.students:
            for method, table in self.methods.items():
                loss = str(table.get(METHOD, method))
                keys = {key: value for key, value in table.items() if key != METHOD}
                yield Arm(
                    name=f"{method}-{student.label}",
                    method=method,
                    loss=loss,
                    student=student,
                    hyperparameters=training | _defaults(loss, keys) | keys,
                )


def _loss_of(name: str, table: object) -> str:
    """The name in METHODS of the method of a table in [methods]."""
    loss = table.get(METHOD, name) if isinstance(table, Mapping) else name
    if not isinstance(loss, str) or loss not in METHODS:
        problem = f"{name}: unknown method" if loss == name else f"{name}.{METHOD}: unknown method {loss!r}"
        raise ValueError(
            f"{problem}; known are {', '.join(METHODS)}; a table of another name needs method = ...,"
            " a method of one's own --import FILE"
        )
    if name in METHODS and isinstance(table, Mapping) and METHOD in table:
        raise ValueError(
            f"{name}.{METHOD}: is the name of the table; leave it out, or give the table another one"
        )
    if not ARM_NAME.fullmatch(name):
        raise ValueError(f"{name!r:.40}: must be a letter and at most 31 more letters, digits and _")
    return loss


def _defaults(loss: str, table: Mapping[str, Searchable]) -> dict[str, Fixed]:
    """The default hyperparameters of a method; those of soft targets only where the table weighs them.

    Without those that all methods share, where the table leaves them out: they change nothing then.
    """
    model = METHODS[loss]
    defaults = model.model_validate({}).model_dump(exclude={*COMMON_KEYS}, exclude_none=True)
    if not issubclass(model, FeatureMethod):
        return defaults
    soft_targets = {key: defaults.pop(key) for key in FeatureMethod.model_fields if key not in COMMON_KEYS}
    return defaults | (soft_targets if table.get("kd_weight") else {})


def _read_method(loss: str, table: object) -> dict[str, Searchable]:
    if isinstance(table, Mapping):
        table = {key: value for key, value in table.items() if key != METHOD}
    values = _read_table(METHODS[loss], table)
    if "kd_temperature" in values and not values.get("kd_weight"):
        raise ValueError("kd_temperature: has no effect without kd_weight")
    return values


def _read_table(model: type[BaseModel], table: object) -> dict[str, Searchable]:
    if not isinstance(table, Mapping):
        raise ValueError(f"must be a table but got {table!r}")
    values: dict[str, Searchable] = {}
    for key, value in table.items():
        try:
            element = list_element(model, key)
            values[key] = read_list(value, element) if element else read_searchable(value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    check_corners(model, values)
    return values
