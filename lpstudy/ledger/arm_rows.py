"""Models of the facts of a study that grows: its arms, the teacher's outputs, first points, weights."""

from typing import Annotated, Any

from pydantic import Field

from lpstudy.ledger.stored_values import Amount, Count, Finite, StoredModel, StoredScalar, StoredText

ARMS = "arms"
"""The fact with a study's arms: see `StoredArms`."""
OUTPUTS = "outputs"
"""The fact with the decisions on the teacher's outputs: see `StoredOutputs`."""
WARM_START = "warm_start"
"""The fact with the first points from another study: see `StoredWarmStart`."""
WEIGHTS = "weights"
"""The fact with the SHA-256 of each student's weights file, by the student's label."""


class StoredDefinition(StoredModel):
    """An arm as its study file describes it: see `lpstudy.space.Definition`."""

    method: dict[str, Any]
    student: dict[str, Any]


class StoredExtension(StoredModel):
    """A change of a begun study."""

    time: Annotated[Finite, Field(ge=0, le=1e11)]
    """Seconds since 1970."""
    version: StoredText
    """The version of lpstudy."""
    runs: Count
    """How many runs had ended, with those of hidden arms."""
    added: list[StoredText] = Field(default_factory=list)
    """New arms."""
    hidden: list[StoredText] = Field(default_factory=list)
    """Arms that the study file no longer has."""
    restored: list[StoredText] = Field(default_factory=list)
    """Hidden arms that it has again."""
    trials: Annotated[list[Amount], Field(min_length=2, max_length=2)] | None = None
    """Trials per arm, before and after."""
    seeds: Annotated[list[Amount], Field(min_length=2, max_length=2)] | None = None
    """Seeds of the finals, before and after."""
    front: Annotated[list[Amount], Field(min_length=2, max_length=2)] | None = None
    """Designs of a front that have finals, before and after."""


class StoredArms(StoredModel):
    """The arms of a study."""

    shown: Annotated[list[StoredText], Field(min_length=1)]
    """The arms of the study file, in its order; others are hidden."""
    definitions: dict[str, StoredDefinition]
    """Every arm that the study has had."""
    growth: list[StoredExtension] = Field(default_factory=list)
    """The changes since the start."""


class StoredOutputs(StoredModel):
    """What was decided on the teacher's outputs when an arm first read them; it holds for all later arms."""

    views: Annotated[int, Field(ge=1, le=2**62)]
    banked: list[StoredText]
    online: list[StoredText]


class StoredWarmStart(StoredModel):
    """The first points from another study."""

    study: StoredText
    points: dict[str, list[dict[str, StoredScalar]]]
    """The points of each arm by its name; none where the other study has no such arm."""
    notes: list[StoredText] = Field(default_factory=list)
    """What was skipped and why, one line each."""
