"""What the rows of a ledger's database hold: strict models, and the one place where each value is parsed."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NotRequired

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import TrialState
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from lpstudy.correctness import unpack
from lpstudy.damage import check_figures, validate_strictly

EPOCHS = "epochs:"
"""Attributes of a trial that hold what its epochs gave begin so; the first of them follows."""
FINAL = "final"
"""Attribute of a final: the number of the trial that won, the seed and the values."""
ATTEMPT = "attempt"
"""Attribute of a run that was begun again."""
MOST = 1_000_000
"""Trials, epochs or seeds of a study."""
LARGEST = 1 << 24
"""Characters of one value."""

Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Amount = Annotated[int, Field(ge=1, le=MOST)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Scalar = bool | int | Finite | str
Text = Annotated[str, Field(max_length=1 << 20)]


class EpochRow(TypedDict):
    """One epoch of a run."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic reads it there
    epoch: Amount
    metrics: dict[str, Finite]
    warnings: list[Text]
    test_correct: NotRequired[Annotated[str, Field(max_length=LARGEST)]]


class FinalRow(TypedDict):
    """Which winner a final repeats, on which seed."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic reads it there
    number: Count
    seed: Amount
    values: dict[str, Scalar]


class _Known(BaseModel):
    """Keys that are read; others, of a later version say, are passed over."""

    model_config = ConfigDict(strict=True, frozen=True)


class StoredBudget(_Known):
    """What a study may spend, as far as a look at its progress needs it."""

    trials: Amount
    epochs: Amount
    seeds: Amount


class StoredSpec(_Known):
    """The shape of a study's spec: what a look at its progress needs, without the networks' code."""

    name: Text
    data: dict[str, Any]
    teacher: dict[str, Any]
    students: Annotated[list[dict[str, Any]], Field(min_length=1)]
    methods: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    training: dict[str, Any] = Field(default_factory=dict)
    budget: StoredBudget
    constraints: dict[str, Any] = Field(default_factory=dict)


class _Data(_Known):
    name: Text
    classes: Amount
    train: Count
    validation: Count
    test: Count


class _Teacher(_Known):
    label: Text
    sha256: Text
    test_accuracy: Annotated[float, Field(ge=0, le=100)]
    parameters: Annotated[int, Field(ge=1)]
    macs: Annotated[int, Field(ge=1)]
    training_macs: Annotated[float, Field(ge=0, le=1e100)]
    seed: Count


_Side = Annotated[int, Field(ge=1, le=1 << 16)]
FACTS: dict[str, TypeAdapter[Any]] = {
    "format": TypeAdapter(Count),
    "content": TypeAdapter(Text),
    "images": TypeAdapter(Text),
    "id": TypeAdapter(Text),
    "spec": TypeAdapter(StoredSpec),
    "input_shape": TypeAdapter(Annotated[list[_Side], Field(min_length=3, max_length=3)]),
    "classes": TypeAdapter(Amount),
    "exhausted": TypeAdapter(list[Text]),
    "points": TypeAdapter(dict[str, Count]),
    "data": TypeAdapter(_Data),
    "teacher": TypeAdapter(_Teacher),
    "provenance": TypeAdapter(dict[str, Text]),
}
"""Of a whole study."""
NEEDED = ("spec", "input_shape", "classes", "id")
"""Facts that a study has from its first moment on."""
_ATTRIBUTES: dict[str, TypeAdapter[Any]] = {
    EPOCHS: TypeAdapter(list[EpochRow]),
    FINAL: TypeAdapter(FinalRow),
    ATTEMPT: TypeAdapter(Amount),
    "infeasible": TypeAdapter(dict[str, Finite]),
    "cause": TypeAdapter(Text),
}
_TIME = "%Y-%m-%d %H:%M:%S.%f"


def json_value(text: object) -> Any:
    """What a text holds as JSON.

    Raises:
        ValueError: It is no text, too long, or no JSON.
    """
    if not isinstance(text, str):
        raise ValueError(f"must be JSON but is {type(text).__name__}")
    if len(text) > LARGEST:
        raise ValueError(f"has more than {LARGEST} characters")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from None


def fact(key: str, text: object) -> Any:
    """A fact of a study; of one that this version does not know, whatever it is.

    Raises:
        ValueError: It is not as lpstudy writes it.
    """
    value = json_value(text)
    if key in FACTS:
        validate_strictly(FACTS[key], value)
    return value


def attribute(key: str, text: object) -> Any:
    """An attribute of a trial; of one that this version does not know, whatever it is.

    Raises:
        ValueError: It is not as lpstudy writes it.
    """
    value = json_value(text)
    model = _ATTRIBUTES.get(EPOCHS if key.startswith(EPOCHS) else key)
    if model is not None:
        validate_strictly(model, value)
    if key.startswith(EPOCHS):
        for row in value:
            if "validation_accuracy" not in row["metrics"]:
                raise ValueError(f"epoch {row['epoch']}: validation_accuracy is missing")
            check_figures(row["metrics"])
            if "test_correct" in row:
                unpack(row["test_correct"])
    return value


def state(text: object) -> TrialState:
    """The state of a trial.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(text, str) or text not in TrialState.__members__:
        raise ValueError(f"must be one of {', '.join(TrialState.__members__)} but is {text!r:.40}")
    return TrialState[text]


def moment(value: object) -> datetime | None:
    """When a trial began or ended, by this machine's clock; SQLite keeps text.

    Raises:
        ValueError: It is no date.
    """
    if isinstance(value, str):
        value = datetime.strptime(value if "." in value else f"{value}.0", _TIME)
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise ValueError(f"must be a date but is {type(value).__name__}")
    try:
        moved = value.replace(tzinfo=UTC).astimezone()
        moved.timestamp()
    except OverflowError as error:
        raise ValueError(f"is no date of this calendar ({error})") from None
    return moved.replace(tzinfo=None)


def parameter(value: object, distribution: object) -> tuple[Scalar, BaseDistribution]:
    """A searched hyperparameter and where it was searched.

    Raises:
        ValueError: One of them is none, or the value is outside.
    """
    validate_strictly(_DISTRIBUTION, json_value(distribution))
    try:
        space = json_to_distribution(str(distribution))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"its distribution is none ({error})") from None
    number: float = validate_strictly(_FINITE, value)
    if not space._contains(number):
        raise ValueError(f"{number:g} is outside of its distribution")
    found: Scalar = validate_strictly(_SCALAR, space.to_external_repr(number))
    return found, space


class _Distribution(_Known):
    name: Literal["FloatDistribution", "IntDistribution", "CategoricalDistribution"]
    attributes: Mapping[str, Any]


_DISTRIBUTION: TypeAdapter[Any] = TypeAdapter(_Distribution)
_FINITE: TypeAdapter[Any] = TypeAdapter(Finite)
_SCALAR: TypeAdapter[Any] = TypeAdapter(Scalar)
_COUNT: TypeAdapter[Any] = TypeAdapter(Count)
Parser = Callable[[object], Any]


def count(value: object) -> int:
    """A number of something, a trial's say.

    Raises:
        ValueError: It is none.
    """
    found: int = validate_strictly(_COUNT, value)
    return found


def objective(key: int, value: object, kind: object) -> float:
    """What a finished trial reached: accuracy in percent, then MACs.

    Raises:
        ValueError: It is no such number.
    """
    if kind != "FINITE":
        raise ValueError(f"must be FINITE but is {kind!r:.40}")
    number: float = validate_strictly(_FINITE, value)
    low, high = ((0, 100), (1, 1e18))[key]
    if not low <= number <= high:
        raise ValueError(f"must be from {low:g} to {high:g} but is {number:g}")
    return number
