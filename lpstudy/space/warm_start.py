"""First points from another study: the table [warm_start] of a study file."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class WarmStart(BaseModel):
    """First points for every arm: the best trials of the same arm of another study in the same storage."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.old[0-9]{1,6})?$")]
    """Name of the other study, which has finished trials; `NAME.old1` is one that --fresh has archived."""
    top: Annotated[int, Field(ge=1, le=100)] = 3
    """How many of its best points an arm's first trials get, after the arm's own `start`."""
