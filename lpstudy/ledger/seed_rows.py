"""Models of the facts on a study's finals: how trials become finals, and how many seeds each arm has."""

from typing import Annotated

from pydantic import Field

from lpstudy.ledger.stored_values import Amount, StoredModel, StoredText

FINALS = "finals"
"""The fact with the decisions on the finals that hold from a study's start: see `StoredFinals`."""
FINAL_TEACHERS = "final_teachers"
"""The fact with the teacher of each seed of the finals, where these differ: see `StoredTeacher`."""
SEEDS = "seeds"
"""The fact with each arm's seeds where the study adds seeds: see `StoredSeeds`."""


class StoredFinals(StoredModel):
    """How trials become finals; a study without this fact has no candidates."""

    candidates: Amount = 1
    """How many trials of an arm are trained again before one of them wins."""
    front: Amount = 1
    """How many designs of the front of an arm with two objectives have finals."""


class StoredTeacher(StoredModel):
    """The teacher of one seed of the finals."""

    sha256: StoredText
    test_accuracy: Annotated[float, Field(ge=0, le=100)]
    """In percent."""


class StoredSeeds(StoredModel):
    """The seeds of an arm, as the last look decided."""

    seeds: Amount
    """How many seeds its finals have."""
    is_open: bool
    """Whether the finals are looked at again once they have these seeds."""
    why: Annotated[StoredText, Field(max_length=200)] = ""
    """Why no seed is added, in words."""
