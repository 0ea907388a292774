"""The models of a study file: data, teacher, students, methods with their ranges, budget and constraints."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from lpstudy.data import DataSpec
from lpstudy.methods import METHODS
from lpstudy.space.arm import Arm
from lpstudy.space.budget import Budget, Search
from lpstudy.space.cost_settings import CostSettings
from lpstudy.space.finals_settings import FinalsSettings
from lpstudy.space.imported_code import ImportedFile
from lpstudy.space.method_tables import (
    COMPUTE_OF,
    EPOCHS,
    METHOD,
    START,
    default_hyperparameters,
    hyperparameters_of,
    read_methods,
    read_table,
)
from lpstudy.space.published import TEACHER, PublishedResult
from lpstudy.space.ranges import Choices, Range, Searchable, corners
from lpstudy.space.shift_settings import ShiftSettings
from lpstudy.space.start import check_start
from lpstudy.space.student_space import StudentSpace
from lpstudy.space.teacher_spec import TeacherSpec
from lpstudy.space.training import Training
from lpstudy.space.warm_start import WarmStart
from lpstudy.user_lines import user_code_error

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Pattern of a study's name, which also names its folder and its MLflow experiment."""
UNSEARCHED = {"checkpoint_seconds": "it changes no result", "precision": "all runs share it"}
"""Keys of [training] that cannot be searched, with the reason."""


class Constraints(BaseModel):
    """Limits of a student: multiply-accumulates per image, parameters, latency."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_macs: Annotated[int, Field(gt=0)] | None = None
    """Largest number of multiply-accumulates of one image's forward pass."""
    max_parameters: Annotated[int, Field(gt=0)] | None = None
    """Largest number of learned weights."""
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    """Longest forward pass of one image in milliseconds: the median with onnxruntime on the first target of
    [cost] latency, by default cpu-1. Each design is measured once, with random weights, before the first
    trial, on the machine of the sweep; the ledger keeps the figures. Needs lpstudy[deploy]."""

    def excess(self, *, macs: int, parameters: int, latency_ms: float | None = None) -> dict[str, float]:
        """The relative excess over each limit, value / limit - 1; empty without limits.

        Args:
            macs: Multiply-accumulates of one image's forward pass.
            parameters: The number of learned weights.
            latency_ms: Milliseconds of one image's forward pass; None where it was not measured.
        """
        pairs = {"macs": (macs, self.max_macs), "parameters": (parameters, self.max_parameters)}
        excess = {name: value / limit - 1 for name, (value, limit) in pairs.items() if limit is not None}
        if self.max_latency_ms is not None and latency_ms is not None:
            excess["latency"] = latency_ms / self.max_latency_ms - 1
        return excess


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
    search: Search = Search()
    constraints: Constraints = Constraints()
    cost: CostSettings = CostSettings()
    shift: ShiftSettings = ShiftSettings()
    finals: FinalsSettings = FinalsSettings()
    warm_start: WarmStart | None = None
    published: tuple[PublishedResult, ...] = Field(default=(), strict=False)
    """What others have published for arms of the study."""
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
        training = read_table(Training, table)
        for key, reason in UNSEARCHED.items():
            if isinstance(training.get(key), Range | Choices):
                raise ValueError(f"{key}: cannot be searched, since {reason}")
        return training

    @field_validator("methods", mode="before")
    @classmethod
    def _methods(cls, tables: object) -> dict[str, dict[str, Any]]:
        if not isinstance(tables, Mapping):
            raise ValueError("must be a table of methods")
        return read_methods(tables)

    @model_validator(mode="after")
    def _check_students(self) -> Self:
        for number, student in enumerate(self.students):
            for name in student.methods or ():
                if name not in self.methods:
                    known = ", ".join(self.methods)
                    raise ValueError(f"students.{number}.methods: must be of {known} but got {name!r}")
        return self

    @model_validator(mode="after")
    def _check_methods(self) -> Self:
        default = Training().batch_size
        smallest = min(int(values.get("batch_size", default)) for values in corners(self.training))
        for name, table in self.methods.items():
            model = METHODS[table.get(METHOD, name)]
            for values in corners(model.model_validate({}).model_dump() | hyperparameters_of(table)):
                try:
                    model.model_validate(values).check(batch_size=smallest)
                except ValueError as error:
                    raise ValueError(f"methods.{name}.{error}") from None
                except Exception as error:  # of any kind: it may be that of one's own code
                    if (own := user_code_error(error)) is None:
                        raise
                    raise ValueError(f"methods.{name}: {own}") from error
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
    def _check_mixing(self) -> Self:
        if self.data.mixes and not self.teacher.online:
            raise ValueError(
                f"data.{'mixup' if self.data.mixup else 'cutmix'}: needs [teacher] online = true,"
                " for a bank has no outputs of mixed images"
            )
        return self

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        for name, table in self.methods.items():
            arms = [arm for arm in self.arms() if arm.method == name]
            for number, point in enumerate(table.get(START, ())):
                for key, value in point.items():
                    try:
                        check_start(arms, key, value)
                    except ValueError as error:
                        raise ValueError(f"methods.{name}.{START}.{number}.{key}: {error}") from None
        return self

    @model_validator(mode="after")
    def _check_warm_start(self) -> Self:
        if self.warm_start is not None and self.warm_start.study == self.name:
            raise ValueError("warm_start.study: is this study itself; name another one")
        return self

    @model_validator(mode="after")
    def _check_published(self) -> Self:
        labels = {method: [student.label for student in self.students] for method in self.methods}
        labels |= {TEACHER: [self.teacher.network.label()]}
        for number, result in enumerate(self.published):
            key, known = (
                ("method", [*labels]) if result.method not in labels else ("student", labels[result.method])
            )
            if (value := getattr(result, key)) not in known:
                raise ValueError(
                    f"published.{number}.{key}: must be one of {', '.join(known)} but got {value!r}"
                )
        return self

    @model_validator(mode="after")
    def _check_money(self) -> Self:
        if self.budget.money is not None and not self.cost.has_prices:
            raise ValueError("budget.money: needs price_per_cpu_hour or price_per_gpu_hour above 0 in [cost]")
        return self

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        labels = [student.label for student in self.students]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"students: {label} is given twice")
        names = [arm.name for arm in self.arms()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"methods: two arms are named {name}; rename a method or a student")
        return self

    @model_validator(mode="after")
    def _check_new_teachers(self) -> Self:
        if "teacher" in self.finals.vary and self.teacher.weights is not None:
            raise ValueError(
                "finals.vary: the teacher's weights are those of [teacher] weights; leave it out"
            )
        return self

    def arms(self) -> tuple[Arm, ...]:
        """Each method on each student, in the order of the students."""
        return tuple(self._arms())

    def _arms(self) -> Iterator[Arm]:
        training = _default_training(self.training) | self.training
        for student in self.students:
            for method in student.methods or self.methods:
                table = self.methods[method]
                loss = str(table.get(METHOD, method))
                keys = hyperparameters_of(table)
                arm = Arm(
                    name=f"{method}-{student.label}",
                    method=method,
                    loss=loss,
                    student=student,
                    head=self.teacher.head if METHODS[loss].reuses_classifier else None,
                    hyperparameters=training | default_hyperparameters(loss, keys) | keys,
                    start=table.get(START, ()),
                    epochs=table.get(EPOCHS, {}).get(student.label, self.budget.epochs),
                    compute_of=table.get(COMPUTE_OF, ""),
                )
                yield arm
                is_repeated = arm.searched and arm.objectives == 1
                for search in range(2, 1 + (self.finals.searches if is_repeated else 1)):
                    yield arm.model_copy(update={"name": f"{arm.name}-search-{search}", "search": search})


def _default_training(table: Mapping[str, Searchable]) -> dict[str, Any]:
    """The defaults of the training that change something beside the table's own values."""
    defaults = Training().model_dump()
    optimizers, schedules = (
        [values.get(key, defaults[key]) for values in corners(table)] for key in ("optimizer", "schedule")
    )
    unused = ["warmup_epochs", "label_smoothing", "ema"]
    unused += [] if "sgd" in optimizers else ["nesterov"]
    unused += [] if "step" in schedules else ["milestones"]
    return {key: value for key, value in defaults.items() if key not in unused}
