"""The section [cost] of a study file."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lpstudy.spending import Prices

LatencyTarget = Literal["cpu-1", "cpu-n", "cuda"]


class CostSettings(BaseModel):
    """What is measured of the cost of the students."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    latency: Annotated[tuple[LatencyTarget, ...], Field(max_length=3, strict=False)] = ()
    """Where the forward passes of teacher and winners are timed, once all runs are done, on the machine of
    the sweep: cpu-1 (one thread), cpu-n (as many as cores), cuda (the first GPU); with onnxruntime and torch,
    batches of 1 and 64 images. Needs lpstudy[deploy]."""

    price_per_gpu_hour: Annotated[float, Field(ge=0)] | None = None
    """Price of an hour of a GPU. With a price, the report and `lpstudy plan` show what each phase costs; one
    that is left out counts as 0."""
    price_per_cpu_hour: Annotated[float, Field(ge=0)] | None = None
    """Price of an hour of CPU time of one core."""
    currency: Annotated[str, Field(pattern=r"^[^\W\d_]{0,8}$")] = ""
    """The currency of the prices, a word that is shown after sums: `EUR`."""

    @property
    def has_prices(self) -> bool:
        """Whether anything has a price."""
        return bool(self.price_per_cpu_hour or self.price_per_gpu_hour)

    @property
    def prices(self) -> Prices:
        """The prices."""
        return Prices(self.price_per_cpu_hour, self.price_per_gpu_hour, self.currency)

    @field_validator("latency")
    @classmethod
    def _distinct(cls, targets: tuple[LatencyTarget, ...]) -> tuple[LatencyTarget, ...]:
        if len(set(targets)) < len(targets):
            raise ValueError(f"names a target twice: {', '.join(targets)}")
        return targets
