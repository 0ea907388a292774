"""The section [shift] of a study file."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lpstudy.data.corruptions import SEVERITIES, Corruption

_Severity = Annotated[int, Field(ge=1, le=5)]


class ShiftSettings(BaseModel):
    """On which shifted test images the finals' accuracy is measured as well, once, after their last epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    corruptions: Annotated[tuple[Corruption, ...], Field(max_length=6, strict=False)] = ()
    """Corruptions of C-lite: noise, blur, brightness, contrast, pixelate, jpeg. Empty: none. Each final reads
    the test set once more for every corruption and severity, and makes the images on the CPU."""
    severities: Annotated[tuple[_Severity, ...], Field(min_length=1, max_length=5, strict=False)] = SEVERITIES
    """Their severities, from 1, weak, to 5."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for key in ("corruptions", "severities"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key}: names one twice: {', '.join(map(str, values))}")
        return self

    def pairs(self) -> tuple[tuple[Corruption, int], ...]:
        """Each corruption with each severity."""
        return tuple((name, severity) for name in self.corruptions for severity in self.severities)
