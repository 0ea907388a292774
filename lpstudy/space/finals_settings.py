"""The section [finals] of a study file."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Source = Literal["seed", "teacher", "split"]
DEFAULT_CANDIDATES = 3
"""Candidates of a study that does not say how many."""
DEFAULT_FRONT = 4
"""Designs of a front that have finals, in a study that does not say how many."""


class FinalsSettings(BaseModel):
    """Which trials become finals, and what differs from final to final."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    candidates: Annotated[int, Field(ge=1, le=20)] | None = None
    """So many of each arm's best trials by validation accuracy, by default three, are trained again on three
    fresh seeds; the one of the highest mean validation accuracy goes to the finals, whose seeds are others.
    1: the best trial goes there as it is. Arms whose depth or width is searched have no candidates."""
    front: Annotated[int, Field(ge=1, le=20)] | None = None
    """Where depth or width are searched, so many designs of each arm's front of validation accuracy and MACs,
    by default four, have finals: the most accurate one, and others spread over the front. 1: the most
    accurate alone. It may be raised later; a study that began without this key has 1."""
    searches: Annotated[int, Field(ge=1, le=5)] = 1
    """How often each arm is searched, each time with another sampler seed and the whole budget. From 2 on the
    spread between the searches' winners is part of every interval. Arms whose depth or width is searched are
    searched once."""
    vary: Annotated[tuple[Source, ...], Field(min_length=1, strict=False)] = ("seed",)
    """What differs from final to final: always the seed; with `teacher` each seed of the finals has a teacher
    of another seed, with `split` another validation set, each with the outputs of its own teacher."""

    @field_validator("vary")
    @classmethod
    def _sources(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        if "seed" not in sources:
            raise ValueError(f'must have "seed" but is {", ".join(sources)}')
        if len(set(sources)) < len(sources):
            raise ValueError(f"names a source twice: {', '.join(sources)}")
        return sources

    @property
    def new_teachers(self) -> bool:
        """Whether each seed of the finals has a teacher of its own."""
        return len(self.vary) > 1
