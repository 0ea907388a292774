"""The section [training] of a study file."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Optimizer = Literal["adam", "sgd", "rmsprop"]
Schedule = Literal["cosine", "step", "constant"]
Precision = Literal["auto", "bf16", "fp32"]


class Training(BaseModel):
    """Optimizer, schedule and precision of one run, all values fixed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    batch_size: Annotated[int, Field(ge=2)] = 128
    """Images per step, over all workers of a trial."""
    optimizer: Optimizer = "adam"
    """`sgd` has Nesterov momentum 0.9."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-3
    """Learning rate of the first step, from which the schedule lowers it."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Decoupled for Adam (AdamW); added to the gradient for the others."""
    schedule: Schedule = "cosine"
    """`cosine` to 0; `step`: times 0.1 after 62.5, 75 and 87.5 % of the steps; or `constant`."""
    precision: Precision = "auto"
    """Precision of convolutions and matrix products: bfloat16 by autocast, or float32 (on a GPU with
    PyTorch's defaults, that is with convolutions in TF32); `auto` is bfloat16 where the hardware supports it.
    LP and the other losses are always computed in float32."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 10.0
    """Fewest seconds between two checkpoints of a run; its last epoch always writes one."""
