"""Hyperparameters in TOML: ranges and choices in Optuna's words (`low`, `high`, ...), and plain values."""

import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Self, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

Scalar = bool | int | float | str
"""A plain value of a hyperparameter: fixed, or chosen from a range or choices."""
Names = tuple[str, ...]
"""A list of strings, such as names of layers; it is always fixed."""
Numbers = tuple[int | float, ...]
"""A list of numbers, such as milestones; it is always fixed."""
Fixed = Scalar | Names | Numbers
"""A fixed hyperparameter."""


def _finite_number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number but got {value!r}")
    try:
        is_finite = math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        raise ValueError("must be finite but got an integer of more than 300 digits") from None
    if not is_finite:
        raise ValueError(f"must be finite but got {value}")
    return value


def _plain(value: object) -> object:
    if not isinstance(value, Scalar):
        raise ValueError(f"must be a number, a string or a boolean but got {value!r}")
    return value


Number = Annotated[int | float, BeforeValidator(_finite_number)]


class Range(BaseModel):
    """Numbers from `low` to `high`, both included; only integers for an integer hyperparameter."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low cannot be above high but got low = {self.low}, high = {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range needs low > 0 but got {self.low}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step must be positive but got {self.step}")
        if self.step is not None and (_exact(self.high) - _exact(self.low)) % _exact(self.step):
            raise ValueError(
                f"high must be low and a multiple of step"
                f" but got low = {self.low}, high = {self.high}, step = {self.step}"
            )
        return self

    def integers(self) -> range:
        """Every integer of the range."""
        return range(int(self.low), int(self.high) + 1, int(self.step or 1))

    def contains(self, value: int | float) -> bool:
        """Whether a number is one of its values."""
        if not self.low <= value <= self.high:
            return False
        return self.step is None or (_exact(value) - _exact(self.low)) % _exact(self.step) == 0

    def count(self, *, integer: bool) -> int | None:
        """The number of its values; None if it is continuous.

        Args:
            integer: Whether the hyperparameter is an integer.
        """
        if self.low == self.high:
            return 1
        if integer:
            return len(self.integers())
        if self.step is None:
            return None
        return int((_exact(self.high) - _exact(self.low)) / _exact(self.step)) + 1

    def __str__(self) -> str:
        extra = ", log" if self.log else "" if self.step is None else f", step {self.step:g}"
        return f"{self.low:g} to {self.high:g}{extra}"


class Choices(BaseModel):
    """One of a few values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    choices: tuple[Annotated[Scalar, BeforeValidator(_plain)], ...]

    @model_validator(mode="before")
    @classmethod
    def _list(cls, table: Any) -> Any:
        if isinstance(table, Mapping) and isinstance(table.get("choices"), list):
            return {**table, "choices": tuple(table["choices"])}
        return table

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        if not self.choices:
            raise ValueError("choices cannot be empty")
        if len(set(map(repr, self.choices))) < len(self.choices):
            raise ValueError(f"choices must differ but got {list(self.choices)}")
        return self

    def __str__(self) -> str:
        return "one of " + ", ".join(str(choice) for choice in self.choices)


Searchable = Range | Choices | Fixed
"""A hyperparameter in a study file: searched in a range or choices, or fixed."""


def list_element(model: type[BaseModel], key: str) -> type[str] | type[float] | None:
    """What the model's field is a list of, strings or numbers; None where it is no tuple."""
    field = model.model_fields.get(key)
    if field is None or get_origin(field.annotation) is not tuple:
        return None
    return str if "str" in str(get_args(field.annotation)[0]) else float


def read_list(value: object, element: type[str] | type[float]) -> Names | Numbers:
    """A TOML value as a fixed list of strings or of numbers.

    Raises:
        ValueError: It is not such a list.
    """
    kind = "strings" if element is str else "numbers"
    if isinstance(value, Mapping | Range | Choices):
        raise ValueError(f"cannot be searched, since it is a list: give a list of {kind}")
    allowed = str if element is str else int | float
    if not isinstance(value, list | tuple) or not all(isinstance(entry, allowed) for entry in value):
        raise ValueError(f"must be a list of {kind} but got {value!r}")
    return tuple(value) if element is str else tuple(map(_finite_number, value))


def read_searchable(value: object) -> Searchable:
    """A TOML value as a range, choices or a fixed value.

    Raises:
        ValueError: It is no number, string or boolean, and no table of Optuna's words.
    """
    if isinstance(value, list | tuple):
        raise ValueError(
            f"is one value, not a list; to search it, give {{ choices = [...] }} but got {list(value)}"
        )
    if isinstance(value, Range | Choices | bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        table = Choices if "choices" in value else Range
        try:
            return table.model_validate(dict(value))
        except ValidationError as error:
            raise ValueError(first_error(error, table)) from None
    raise ValueError(f"must be a value, {{ low, high }} or {{ choices }} but got {value!r}")


def value_text(value: object) -> str:
    """A fixed or searched hyperparameter as MLflow and reports show it; a list as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, tuple) else str(value)


def corners(table: Mapping[str, Searchable]) -> Iterator[dict[str, Any]]:
    """The table with all ranges at their low ends, then at their high ends, then each choice in turn."""
    low = {key: _end(value, at_high=False) for key, value in table.items()}
    yield low
    yield {key: _end(value, at_high=True) for key, value in table.items()}
    for key, value in table.items():
        if isinstance(value, Choices):
            for choice in value.choices:
                yield {**low, key: choice}


def check_corners(model: type[BaseModel], table: Mapping[str, Searchable]) -> None:
    """Validate both ends of every range and every choice by the model that will receive them.

    Raises:
        ValueError: One line: the key, what is wrong, what is allowed.
    """
    for values in corners(table):
        try:
            model.model_validate(values)
        except ValidationError as error:
            raise ValueError(first_error(error, model)) from None
    for key, value in table.items():
        if is_integer(model, key):
            check_integers(key, value)


def check_integers(key: str, space: Searchable) -> None:
    """Refuse a range of an integer that has a fractional step.

    Raises:
        ValueError: One line: the key, what is wrong, what is allowed.
    """
    if isinstance(space, Range) and isinstance(space.step, float):
        raise ValueError(f"{key}: step must be an integer but got {space.step}")


def is_integer(model: type[BaseModel], key: str) -> bool:
    """Whether the model's field takes integers alone."""
    annotation = model.model_fields[key].annotation
    return annotation is int or annotation == (int | None)


def first_error(error: ValidationError, model: type[BaseModel]) -> str:
    """The first validation error in one line: key, rule and value; for an unknown key, the allowed ones."""
    details = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        allowed = ", ".join(key for key in model.model_fields if key not in ("method", "imported"))
        return f"{where}: unknown key; allowed are {allowed}"
    if details["type"] == "missing":
        return f"{where}: is missing"
    message = details["msg"].removeprefix("Value error, ").replace("\n", " ")
    message = message[0].lower() + message[1:] if message[1:2].islower() else message
    if details["type"] in ("model_type", "dict_type"):
        message = "must be a table"
    value = "" if details["type"] == "value_error" else f" but got {_value_in_words(details['input'])}"
    return f"{where}: {message}{value}" if where else f"{message}{value}"


def _value_in_words(value: object) -> str:
    match value:
        case Mapping() | BaseModel():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            return repr(value)


def _exact(number: float) -> Decimal:
    """The number as the study file writes it: 0.3 is three tenths."""
    return Decimal(str(number))


def _end(value: Searchable, *, at_high: bool) -> Fixed:
    match value:
        case Range():
            return value.high if at_high else value.low
        case Choices():
            return value.choices[0]
        case _:
            return value
