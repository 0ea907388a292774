"""An arm of a study, a method on a student, and the runs that it resolves to."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from lpstudy.diagnostic import Diagnostic
from lpstudy.methods import METHODS, Method
from lpstudy.space.ranges import Choices, Fixed, Range, Scalar, Searchable, is_integer
from lpstudy.space.student_space import STUDENT_KEYS, StudentSpace
from lpstudy.space.training import Training
from lpstudy.students import ReusedHead, StudentSpec


class RunSpec(BaseModel):
    """A training run with all values fixed: student, method, training, epochs and seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    student: StudentSpec
    method: Method
    training: Training
    epochs: int
    seed: int


class Arm(BaseModel):
    """One method on one student space, which a sampler searches with a budget of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    method: str
    """The name of its table in [methods], which reports use."""
    loss: str
    """The name of its method in METHODS; it differs from `method` for a table with a free name."""
    student: StudentSpace
    search: int = 1
    """Which of the repeated searches of the same method on the same student it is: see `FinalsSettings`."""
    head: ReusedHead | None = None
    """The teacher whose classifier its students end in, where the method asks for that."""
    hyperparameters: dict[str, Any]
    """The hyperparameters of method and training by name, fixed or searched."""
    start: tuple[dict[str, Scalar], ...] = ()
    """The first points; the sampler completes what a point leaves open."""
    epochs: int
    """Epochs of each of its runs."""
    compute_of: str = ""
    """The table in [methods] whose compute it spends on its epochs; empty: it has the budget's epochs."""
    warm_start: str = ""
    """The study that some of them come from. Its arm may have the same name: without another seed, the
    sampler would suggest that study's points again."""

    @property
    def searched(self) -> dict[str, Searchable]:
        """The searched hyperparameters, depth and width first."""
        ranges = {k: v for k, v in self.hyperparameters.items() if isinstance(v, Range | Choices)}
        return self.student.searched | ranges

    @property
    def fixed(self) -> dict[str, Fixed]:
        """The hyperparameters that are not searched."""
        return {k: v for k, v in self.hyperparameters.items() if not isinstance(v, Range | Choices)}

    @property
    def objectives(self) -> int:
        """1: validation accuracy; 2 where depth or width is searched: also MACs."""
        return 2 if self.student.searched else 1

    @property
    def points(self) -> int | None:
        """The number of points in its search space; None where a range is continuous."""
        counts = [
            len(space.choices) if isinstance(space, Choices) else space.count(integer=self.integer(key))
            for key, space in self.searched.items()
            if isinstance(space, Range | Choices)
        ]
        return None if None in counts else math.prod(count for count in counts if count is not None)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What the method logs about itself."""
        return METHODS[self.loss].diagnostics

    def integer(self, key: str) -> bool:
        """Whether a searched hyperparameter is an integer."""
        if key in STUDENT_KEYS:
            return True
        return is_integer(Training if key in Training.model_fields else METHODS[self.loss], key)

    def student_spec(self, values: Mapping[str, Any]) -> StudentSpec:
        """The student for some searched values."""
        sizes = {key: values[key] for key in self.student.searched}
        return StudentSpec.model_validate(self.student.fixed | sizes | {"head": self.head})

    def resolve(self, values: Mapping[str, Scalar], *, epochs: int, seed: int) -> RunSpec:
        """The run with these searched values."""
        table = self.hyperparameters | {k: v for k, v in values.items() if k in self.hyperparameters}
        training = {key: value for key, value in table.items() if key in Training.model_fields}
        method = {key: value for key, value in table.items() if key not in Training.model_fields}
        return RunSpec.model_validate(
            {
                "student": self.student_spec(values),
                "method": METHODS[self.loss].model_validate(method),
                "training": training,
                "epochs": epochs,
                "seed": seed,
            }
        )
