"""The types of the values in a ledger's rows."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_COUNT = 1_000_000
"""The most trials, epochs or seeds of a study."""
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Amount = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
StoredScalar = bool | int | Finite | str
StoredText = Annotated[str, Field(max_length=1 << 20)]


class StoredModel(BaseModel):
    """A model of the keys that lpstudy reads; it ignores other keys, for example of a later version."""

    model_config = ConfigDict(strict=True, frozen=True)
