"""Strict models of the rows in a ledger's database, and the parsers of their values."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NotRequired

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import TrialState
from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from lpstudy.correctness import check_record
from lpstudy.damage import check_figures, validate_strictly
from lpstudy.ledger import arm_rows, spending_rows
from lpstudy.ledger.front_pruner import FRONT_PRUNER
from lpstudy.ledger.seed_rows import FINAL_TEACHERS, FINALS, SEEDS, StoredFinals, StoredSeeds, StoredTeacher
from lpstudy.ledger.stored_values import Amount, Count, Finite, StoredModel, StoredScalar, StoredText
from lpstudy.seed_range import SeedRange

EPOCHS = "epochs:"
"""Prefix of the trial attributes that hold epoch results; the first epoch's number follows."""
FINAL = "final"
"""Attribute of a candidate or final: its trial's number, the seed and the values."""
KIND = "kind"
"""Key of FINAL that names a run which is no final."""
ATTEMPT = "attempt"
"""Attribute of a restarted run: the number of the attempt."""
MAX_CHARACTERS = 1 << 24
"""The most characters of one value."""


class EpochRow(TypedDict):
    """One epoch of a run."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic reads it there
    epoch: Amount
    metrics: dict[str, Finite]
    warnings: list[StoredText]
    test_correct: NotRequired[Annotated[str, Field(max_length=MAX_CHARACTERS)]]


class FinalRow(TypedDict):
    """The trial that a candidate or final trains again, and its seed."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic reads it there
    number: Count
    seed: Amount
    values: dict[str, StoredScalar]
    kind: NotRequired[Literal["candidate"]]


class StoredBudget(StoredModel):
    """The part of a study's budget that its progress depends on."""

    trials: Amount
    epochs: Amount
    seeds: Amount | SeedRange
    cpu_hours: Finite | None = None
    gpu_hours: Finite | None = None
    money: Finite | None = None


class StoredCode(StoredModel):
    """The name and hash of imported code."""

    name: StoredText
    sha256: StoredText


class StoredSpec(StoredModel):
    """The part of a study's spec that its progress depends on, validated without the networks' code."""

    name: StoredText
    data: dict[str, Any]
    teacher: dict[str, Any]
    students: Annotated[list[dict[str, Any]], Field(min_length=1)]
    methods: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    training: dict[str, Any] = Field(default_factory=dict)
    budget: StoredBudget
    constraints: dict[str, Any] = Field(default_factory=dict)
    imported: list[StoredCode] = Field(default_factory=list)


class _Data(StoredModel):
    name: StoredText
    classes: Amount
    train: Count
    validation: Count
    test: Count


class _Teacher(StoredModel):
    label: StoredText
    sha256: StoredText
    test_accuracy: Annotated[float, Field(ge=0, le=100)]
    parameters: Annotated[int, Field(ge=1)]
    macs: Annotated[int, Field(ge=1)]
    training_macs: Annotated[float, Field(ge=0, le=1e100)]
    seed: Count


_Side = Annotated[int, Field(ge=1, le=1 << 16)]
FACTS: dict[str, TypeAdapter[Any]] = {
    "format": TypeAdapter(Count),
    "content": TypeAdapter(StoredText),
    "images": TypeAdapter(StoredText),
    "id": TypeAdapter(StoredText),
    "spec": TypeAdapter(StoredSpec),
    "input_shape": TypeAdapter(Annotated[list[_Side], Field(min_length=3, max_length=3)]),
    "classes": TypeAdapter(Amount),
    FRONT_PRUNER: TypeAdapter(bool),
    "exhausted": TypeAdapter(list[StoredText]),
    "points": TypeAdapter(dict[str, Count]),
    FINALS: TypeAdapter(StoredFinals),
    SEEDS: TypeAdapter(dict[str, StoredSeeds]),
    FINAL_TEACHERS: TypeAdapter(dict[str, StoredTeacher]),
    "data": TypeAdapter(_Data),
    "teacher": TypeAdapter(_Teacher),
    "provenance": TypeAdapter(dict[str, StoredText]),
    arm_rows.ARMS: TypeAdapter(arm_rows.StoredArms),
    arm_rows.OUTPUTS: TypeAdapter(arm_rows.StoredOutputs),
    arm_rows.WARM_START: TypeAdapter(arm_rows.StoredWarmStart),
    arm_rows.WEIGHTS: TypeAdapter(dict[str, StoredText]),
    spending_rows.SPENT: TypeAdapter(list[spending_rows.StoredPhase]),
    spending_rows.ESTIMATE: TypeAdapter(list[spending_rows.StoredPhase]),
}
"""The facts of a whole study, each with its model."""
REQUIRED_FACTS = ("spec", "input_shape", "classes", "id")
"""Facts that a study has from its start."""
_ATTRIBUTES: dict[str, TypeAdapter[Any]] = {
    EPOCHS: TypeAdapter(list[EpochRow]),
    FINAL: TypeAdapter(FinalRow),
    ATTEMPT: TypeAdapter(Amount),
    "infeasible": TypeAdapter(dict[str, Finite]),
    "cause": TypeAdapter(StoredText),
}
_TIME = "%Y-%m-%d %H:%M:%S.%f"


def json_value(text: object) -> Any:
    """Parse a text as JSON.

    Raises:
        ValueError: The value is not text, is too long, or is not JSON.
    """
    if not isinstance(text, str):
        raise ValueError(f"must be JSON but is {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"has more than {MAX_CHARACTERS} characters")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from None


def parse_fact(key: str, text: object) -> Any:
    """Parse a fact of a study; a fact that this version does not know may be any JSON.

    Raises:
        ValueError: The value is not as lpstudy writes it.
    """
    value = json_value(text)
    if key in FACTS:
        validate_strictly(FACTS[key], value)
    return value


def parse_attribute(key: str, text: object) -> Any:
    """Parse an attribute of a trial; an attribute that this version does not know may be any JSON.

    Raises:
        ValueError: The value is not as lpstudy writes it.
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
                check_record(row["test_correct"])
    return value


def parse_state(text: object) -> TrialState:
    """Parse the state of a trial.

    Raises:
        ValueError: The text names no state.
    """
    if not isinstance(text, str) or text not in TrialState.__members__:
        raise ValueError(f"must be one of {', '.join(TrialState.__members__)} but is {text!r:.40}")
    return TrialState[text]


def parse_time(value: object) -> datetime | None:
    """Parse the start or end time of a trial, in this machine's time zone; SQLite stores text.

    Raises:
        ValueError: The value is not a date.
    """
    if isinstance(value, str):
        value = datetime.strptime(value if "." in value else f"{value}.0", _TIME)
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise ValueError(f"must be a date but is {type(value).__name__}")
    try:
        local = value.replace(tzinfo=UTC).astimezone()
        local.timestamp()
    except OverflowError as error:
        raise ValueError(f"is no date of this calendar ({error})") from None
    return local.replace(tzinfo=None)


def parse_parameter(value: object, distribution: object) -> tuple[StoredScalar, BaseDistribution]:
    """Parse a searched hyperparameter and its distribution.

    Raises:
        ValueError: Either is invalid, or the value is outside of the distribution.
    """
    validate_strictly(_DISTRIBUTION, json_value(distribution))
    try:
        space = json_to_distribution(str(distribution))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"its distribution is invalid ({error})") from None
    number: float = validate_strictly(_FINITE, value)
    if not space._contains(number):
        raise ValueError(f"{number:g} is outside of its distribution")
    parsed: StoredScalar = validate_strictly(_SCALAR, space.to_external_repr(number))
    return parsed, space


class _Distribution(StoredModel):
    name: Literal["FloatDistribution", "IntDistribution", "CategoricalDistribution"]
    attributes: Mapping[str, Any]


_DISTRIBUTION: TypeAdapter[Any] = TypeAdapter(_Distribution)
_FINITE: TypeAdapter[Any] = TypeAdapter(Finite)
_SCALAR: TypeAdapter[Any] = TypeAdapter(StoredScalar)
_COUNT: TypeAdapter[Any] = TypeAdapter(Count)
ValueParser = Callable[[object], Any]


def parse_count(value: object) -> int:
    """Parse a count, for example a trial's number.

    Raises:
        ValueError: The value is not a count.
    """
    number: int = validate_strictly(_COUNT, value)
    return number


def parse_objective(key: int, value: object, kind: object) -> float:
    """Parse an objective of a finished trial: accuracy in percent, then MACs.

    Raises:
        ValueError: The value is out of range.
    """
    if kind != "FINITE":
        raise ValueError(f"must be FINITE but is {kind!r:.40}")
    number: float = validate_strictly(_FINITE, value)
    low, high = ((0, 100), (1, 1e18))[key]
    if not low <= number <= high:
        raise ValueError(f"must be from {low:g} to {high:g} but is {number:g}")
    return number
