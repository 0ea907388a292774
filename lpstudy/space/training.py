"""How a network is trained: the plain values a run needs, and the same as they may be searched."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Optimizer = Literal["adam", "sgd", "rmsprop"]
Schedule = Literal["cosine", "step", "constant"]
Precision = Literal["auto", "bf16", "fp32"]


class Training(BaseModel):
    """Optimiser and schedule of one run; every value is fixed here."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    batch_size: Annotated[int, Field(ge=2)] = 128
    """Images per step, over all workers of a trial."""
    optimizer: Optimizer = "adam"
    """`sgd` has Nesterov momentum 0.9."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-3
    """At the first step; the schedule lowers it."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Decoupled for Adam (AdamW); added to the gradient for the others."""
    schedule: Schedule = "cosine"
    """`cosine` to 0; `step`: times 0.1 after 62.5, 75 and 87.5 % of the steps; or `constant`."""
    precision: Precision = "auto"
    """Of convolutions and matrix products: bfloat16 by autocast, or float32 (on a GPU as torch has it, with
    convolutions in TF32); `auto` takes bfloat16 where the hardware has it. LP and the other losses are always
    computed in float32."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 10.0
    """At most one checkpoint in so many seconds; the last epoch always has one."""
