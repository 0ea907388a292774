"""A study as its TOML file describes it: data, teacher, students, methods and ranges, budget, constraints."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lpstudy.data import DataSpec
from lpstudy.distill import METHODS, Method
from lpstudy.space.ranges import (
    Choices,
    Range,
    Scalar,
    Searchable,
    check,
    corners,
    is_integer,
    read_searchable,
)
from lpstudy.space.training import Training
from lpstudy.students import StudentSpec

STUDENT_KEYS = ("depth", "width")
PRUNERS = Literal["median", "halving", "none"]


class TeacherSpec(Training):
    """The network that is trained once per study and then teaches; or one's own, by its weights file."""

    family: str
    design: str | None = None
    depth: int | None = None
    width: int | None = None
    weights: str | None = None
    """Path of a safetensors file; the teacher is then not trained."""
    epochs: Annotated[int, Field(ge=1)] = 30
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _network(self) -> Self:
        _ = self.network
        return self

    @property
    def network(self) -> StudentSpec:
        """The teacher's network."""
        keys = {"family": self.family, "design": self.design, "depth": self.depth, "width": self.width}
        return StudentSpec.model_validate(keys)

    @property
    def training(self) -> Training:
        """How the teacher is trained."""
        return Training.model_validate({key: getattr(self, key) for key in Training.model_fields})


class StudentSpace(BaseModel):
    """A fixed design, or a family with ranges of depth and width: the arm then has two objectives."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    family: str
    design: str | None = None
    depth: Any = None
    width: Any = None

    @field_validator("depth", "width", mode="before")
    @classmethod
    def _range(cls, value: object) -> Searchable | None:
        return None if value is None else read_searchable(value)

    @model_validator(mode="after")
    def _every_size_is_valid(self) -> Self:
        for values in corners(self.searched | self.fixed):
            StudentSpec.model_validate(values)
        for key, value in self.searched.items():
            if isinstance(value, Range) and value.log:
                raise ValueError(f"{key}: log is not for {key}; give low, high and step")
            if isinstance(value, Range) and int(value.high - value.low) <= 4096:
                low = next(corners(self.searched | self.fixed))
                for size in value.integers():
                    StudentSpec.model_validate(low | {key: size})
        return self

    @property
    def searched(self) -> dict[str, Searchable]:
        """Depth and width as far as they are ranges."""
        sizes = {"depth": self.depth, "width": self.width}
        return {key: value for key, value in sizes.items() if isinstance(value, Range | Choices)}

    @property
    def fixed(self) -> dict[str, Scalar]:
        """The plain values."""
        table = {key: getattr(self, key) for key in ("family", "design", *STUDENT_KEYS)}
        return {key: value for key, value in table.items() if isinstance(value, str | int)}

    @property
    def label(self) -> str:
        """The design's name, or the family's where sizes are searched."""
        return self.family if self.searched else StudentSpec.model_validate(self.fixed).label()


class Budget(BaseModel):
    """What the study may spend; the same for every arm."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    trials: Annotated[int, Field(ge=1)] = 8
    """Trials per arm; infeasible designs are not counted."""
    epochs: Annotated[int, Field(ge=1)] = 30
    seeds: Annotated[int, Field(ge=1)] = 5
    """Seeds of the finals: each arm's winner is trained again with every one of them."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """No trial is started after so many hours of a sweep; what runs is finished."""
    pruner: PRUNERS = "median"
    """Which rule of Optuna stops weak trials early; arms with two objectives are never pruned."""


class Constraints(BaseModel):
    """Limits of a student: multiply-accumulates of one image, and parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_macs: Annotated[int, Field(gt=0)] | None = None
    max_parameters: Annotated[int, Field(gt=0)] | None = None


class Trial(BaseModel):
    """One run, fully resolved: what to train, how, on which seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    student: StudentSpec
    method: Method
    training: Training
    epochs: int
    seed: int


class Arm(BaseModel):
    """One method on one student space: what the optimiser searches on its own budget."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    method: str
    student: StudentSpace
    hyperparameters: dict[str, Any]
    """Of the method and of the training, by name, as the study file gives them."""

    @property
    def searched(self) -> dict[str, Searchable]:
        """Everything the optimiser chooses, depth and width first."""
        ranges = {k: v for k, v in self.hyperparameters.items() if isinstance(v, Range | Choices)}
        return self.student.searched | ranges

    @property
    def fixed(self) -> dict[str, Scalar]:
        """The hyperparameters that are not searched."""
        return {k: v for k, v in self.hyperparameters.items() if not isinstance(v, Range | Choices)}

    @property
    def objectives(self) -> int:
        """1: validation accuracy; 2 where depth or width is searched: and MACs."""
        return 2 if self.student.searched else 1

    def integer(self, key: str) -> bool:
        """Whether a searched hyperparameter is an integer."""
        if key in STUDENT_KEYS:
            return True
        return is_integer(Training if key in Training.model_fields else METHODS[self.method], key)

    def student_spec(self, values: Mapping[str, Scalar]) -> StudentSpec:
        """The student for some searched values."""
        sizes = {key: values[key] for key in self.student.searched}
        return StudentSpec.model_validate(self.student.fixed | sizes)

    def resolve(self, values: Mapping[str, Scalar], *, epochs: int, seed: int) -> Trial:
        """The run that some searched values stand for."""
        table = self.hyperparameters | {k: v for k, v in values.items() if k in self.hyperparameters}
        training = {key: value for key, value in table.items() if key in Training.model_fields}
        method = {key: value for key, value in table.items() if key not in Training.model_fields}
        return Trial.model_validate(
            {
                "student": self.student_spec(values),
                "method": METHODS[self.method].model_validate(method),
                "training": training,
                "epochs": epochs,
                "seed": seed,
            }
        )


class StudySpec(BaseModel):
    """One study file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    data: DataSpec
    teacher: TeacherSpec
    students: tuple[StudentSpace, ...] = Field(min_length=1, strict=False)
    methods: dict[str, dict[str, Any]] = Field(min_length=1)
    training: dict[str, Any] = Field(default_factory=dict)
    budget: Budget = Budget()
    constraints: Constraints = Constraints()

    @field_validator("training", mode="before")
    @classmethod
    def _training(cls, table: object) -> dict[str, Searchable]:
        return _read_table(Training, table)

    @field_validator("methods", mode="before")
    @classmethod
    def _methods(cls, tables: object) -> dict[str, dict[str, Searchable]]:
        if not isinstance(tables, Mapping):
            raise ValueError("must be a table of methods")
        for name in tables:
            if name not in METHODS:
                raise ValueError(f"{name}: unknown method; known are {', '.join(METHODS)}")
        read = {}
        for name, table in tables.items():
            try:
                read[name] = _read_table(METHODS[name], table)
            except ValueError as error:
                raise ValueError(f"{name}.{error}") from None
        return read

    @model_validator(mode="after")
    def _neighbors_fit_the_batch(self) -> Self:
        batch = min(int(values.get("batch_size", 128)) for values in corners(self.training))
        for name, table in self.methods.items():
            for values in corners(table):
                k = values.get("n_neighbors", 1)
                if isinstance(k, int) and k >= batch:
                    raise ValueError(
                        f"methods.{name}.n_neighbors: must be below training.batch_size = {batch} but got {k}"
                    )
        return self

    @model_validator(mode="after")
    def _arms_differ(self) -> Self:
        labels = [student.label for student in self.students]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"students: {label} is given twice")
        return self

    def arms(self) -> tuple[Arm, ...]:
        """Every method on every student, students outermost."""
        return tuple(self._arms())

    def _arms(self) -> Iterator[Arm]:
        training = Training().model_dump() | self.training
        for student in self.students:
            for method, table in self.methods.items():
                defaults = METHODS[method]().model_dump(exclude={"method"}, exclude_none=True)
                yield Arm(
                    name=f"{method}-{student.label}",
                    method=method,
                    student=student,
                    hyperparameters=training | defaults | table,
                )


def _read_table(model: type[BaseModel], table: object) -> dict[str, Searchable]:
    if not isinstance(table, Mapping):
        raise ValueError(f"must be a table but got {table!r}")
    read: dict[str, Searchable] = {}
    for key, value in table.items():
        try:
            read[key] = read_searchable(value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    check(model, read)
    return read
