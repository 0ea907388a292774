"""The section [cost] of a study file."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

LatencyTarget = Literal["cpu-1", "cpu-n", "cuda"]


class CostSettings(BaseModel):
    """What is measured of the cost of the students."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    latency: Annotated[tuple[LatencyTarget, ...], Field(max_length=3, strict=False)] = ()
    """Where the forward passes of teacher and winners are timed, once all runs are done, on the machine of
    the sweep: cpu-1 (one thread), cpu-n (as many as cores), cuda (the first GPU); with onnxruntime and torch,
    batches of 1 and 64 images. Needs lpstudy[deploy]."""

    @field_validator("latency")
    @classmethod
    def _distinct(cls, targets: tuple[LatencyTarget, ...]) -> tuple[LatencyTarget, ...]:
        if len(set(targets)) < len(targets):
            raise ValueError(f"names a target twice: {', '.join(targets)}")
        return targets
