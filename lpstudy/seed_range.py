"""How many seeds the finals have: a number, or a range within which seeds are added at planned looks."""

from collections.abc import Sequence
from math import ceil
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST = 999_000
"""The highest seed of the finals; candidates have seeds beyond it."""
SEEDS_SCHEMA = {
    "oneOf": [
        {"type": "integer", "minimum": 1, "maximum": MOST},
        {
            "type": "object",
            "properties": {
                "low": {"type": "integer", "minimum": 2, "maximum": 1000},
                "high": {"type": "integer", "minimum": 3, "maximum": 1000},
            },
            "required": ["low", "high"],
            "additionalProperties": False,
        },
    ]
}
"""What a study file may say of the seeds, as a JSON schema."""
GROWTH = 1.5
"""Factor between the seeds of two looks."""
LAST_STEP = 1.2
"""A look within this factor of the last one is left out."""


class SeedRange(BaseModel):
    """A number of seeds that grows from `low` to at most `high`, while a comparison is open."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    low: Annotated[int, Field(ge=2, le=1000)]
    """Seeds at the first look."""
    high: Annotated[int, Field(ge=3, le=1000)]
    """Seeds at the last look."""

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.high <= self.low:
            raise ValueError(f"high: must be above low, {self.low}, but is {self.high}")
        return self


def read_seeds(value: object) -> int | SeedRange:
    """Parse the seeds of a study file.

    Raises:
        ValueError: One line that says what is allowed.
    """
    match value:
        case SeedRange():
            return value
        case int() if not isinstance(value, bool) and 1 <= value <= MOST:
            return value
        case {"low": int(low), "high": int(high), **rest} if not rest and 2 <= low < high <= 1000:
            return SeedRange(low=low, high=high)
    text = f"{{ {', '.join(f'{k} = {v}' for k, v in value.items())} }}" if isinstance(value, dict) else value
    raise ValueError(
        f"must be a whole number from 1 to {MOST}, or {{ low = 4, high = 24 }} with low of at least 2 and a"
        f" higher high, at most 1000, but got {text}"
    )


def looks_of(seeds: int | SeedRange) -> tuple[int, ...]:
    """The numbers of seeds at which the finals are compared; one for a fixed number."""
    if isinstance(seeds, int):
        return (seeds,)
    looks, n = [seeds.low], ceil(GROWTH * seeds.low)
    while n * LAST_STEP < seeds.high:
        looks.append(n)
        n = ceil(GROWTH * n)
    return (*looks, seeds.high)


def first_seeds(seeds: int | SeedRange) -> int:
    """The seeds that every arm has."""
    return looks_of(seeds)[0]


def seeds_words(seeds: int | SeedRange) -> str:
    """The number of seeds in words."""
    return str(seeds) if isinstance(seeds, int) else f"{seeds.low} to {seeds.high}"


def spending(looks: Sequence[int]) -> tuple[float, ...]:
    """The share of the error that each look may spend: its new seeds, of all at the last look.

    The shares add up to 1, so that by Bonferroni's inequality the claims at all looks together err no more
    often than one test would, however the looks depend on each other.

    Args:
        looks: The planned numbers of seeds, rising.

    Source: Lan and DeMets (1983), Biometrika 70 (spending functions); Kim and DeMets (1987), Biometrika 74
    (the power family, here alpha * t).
    """
    steps = [now - before for before, now in zip((0, *looks), looks, strict=False)]
    return tuple(step / looks[-1] for step in steps)
