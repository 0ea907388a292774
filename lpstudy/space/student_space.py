"""The students of a study: a fixed design, or a family whose depth and width are searched."""

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lpstudy.space.ranges import (
    Choices,
    Fixed,
    Range,
    Scalar,
    Searchable,
    check_integers,
    corners,
    read_list,
    read_searchable,
)
from lpstudy.students import StudentSpec, module_label

STUDENT_KEYS = ("depth", "width")
MAX_SIZES = 4096
"""Most values of a range of depth or width, each of which is validated before the study starts."""


class StudentSpace(BaseModel):
    """A fixed design, or a family with ranges of depth and width, whose arms have two objectives."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    family: str
    design: str | None = None
    depth: Any = None
    width: Any = None
    layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    stem: str | None = None
    weights: Annotated[str, Field(min_length=1)] | None = None
    """Initial weights of a student of one size: see `StudentSpec`."""

    methods: tuple[str, ...] | None = Field(default=None, min_length=1)
    """The names of the tables in [methods] that train it; by default all."""

    @field_validator("depth", "width", mode="before")
    @classmethod
    def _range(cls, value: object) -> Searchable | None:
        return None if value is None else read_searchable(value)

    @field_validator("methods", "layers", mode="before")
    @classmethod
    def _names(cls, names: object) -> object:
        return None if names is None else read_list(names, str)

    @model_validator(mode="after")
    def _every_size_is_valid(self) -> Self:
        if self.weights is not None and self.searched:
            raise ValueError(
                f"weights: fit one size, so {' and '.join(self.searched)} cannot be searched with them"
            )
        for values in corners(self.searched | self.fixed):
            StudentSpec.model_validate(values)
        for key, value in self.searched.items():
            if isinstance(value, Range) and value.log:
                raise ValueError(f"{key}: log is not for {key}; give low, high and step")
            check_integers(key, value)
            if isinstance(value, Range):
                if (count := len(value.integers())) > MAX_SIZES:
                    raise ValueError(f"{key}: a range has at most {MAX_SIZES} sizes but got {count}")
                low = next(corners(self.searched | self.fixed))
                for size in value.integers():
                    StudentSpec.model_validate(low | {key: size})
        return self

    @property
    def searched(self) -> dict[str, Searchable]:
        """Depth and width, where they are ranges or choices."""
        sizes = {"depth": self.depth, "width": self.width}
        return {key: value for key, value in sizes.items() if isinstance(value, Range | Choices)}

    def sizes(self) -> Iterator[dict[str, Scalar]]:
        """Each combination of searched depths and widths; one empty combination for a fixed design."""
        searched = self.searched
        values = [
            space.integers() if isinstance(space, Range) else space.choices
            for space in searched.values()
            if isinstance(space, Range | Choices)
        ]
        for row in product(*values):
            yield dict(zip(searched, row, strict=True))

    @property
    def fixed(self) -> dict[str, Fixed]:
        """The values that are not searched."""
        keys = ("family", "design", *STUDENT_KEYS, "layers", "stem", "weights")
        table = {key: getattr(self, key) for key in keys}
        return {key: value for key, value in table.items() if isinstance(value, Scalar | tuple)}

    @property
    def label(self) -> str:
        """The name of the design; where sizes are searched, that of the family or of the function."""
        if self.searched and self.family == "module" and self.design is not None:
            return module_label(self.design)
        return self.family if self.searched else StudentSpec.model_validate(self.fixed).label()
