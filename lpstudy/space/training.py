"""The section [training] of a study file."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Optimizer = Literal["adam", "sgd", "rmsprop"]
Schedule = Literal["cosine", "step", "constant"]
Precision = Literal["auto", "bf16", "fp32"]


class Training(BaseModel):
    """Optimizer, schedule and precision of one run, all values fixed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    batch_size: Annotated[int, Field(ge=2)] = 128
    """Images per step, over all workers of a trial."""
    optimizer: Optimizer = "adam"
    """`sgd` has momentum 0.9."""
    nesterov: bool = True
    """Whether the momentum of `sgd` is Nesterov's. The published CIFAR-100 tables have plain momentum."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-3
    """Learning rate of the first step after the warm-up, from which the schedule lowers it."""
    warmup_epochs: Annotated[float, Field(ge=0, le=10000)] = 0.0
    """Epochs over which the rate rises linearly from a hundredth of the schedule's to all of it."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Decoupled for Adam (AdamW); added to the gradient for the others."""
    schedule: Schedule = "cosine"
    """`cosine` to 0; `step`: times 0.1 at each of the milestones; or `constant`."""
    milestones: tuple[Annotated[float, Field(gt=0, le=100000)], ...] = (0.625, 0.75, 0.875)
    """For `step`: shares of the training (below 1), or epochs after which the rate falls (from 1 on). The
    default is epochs 150, 180 and 210 of 240."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label that CE spreads evenly over all classes."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of an exponential moving average of the weights, updated after each step; above 0, the average is
    what is evaluated and stored. It reaches back about 1 / (1 - ema) steps, free of the initial weights."""
    precision: Precision = "auto"
    """Precision of convolutions and matrix products: bfloat16 by autocast, or float32 (on a GPU with
    PyTorch's defaults, that is with convolutions in TF32); `auto` is bfloat16 where the hardware supports it.
    LP and the other losses are always computed in float32."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 10.0
    """Fewest seconds between two checkpoints of a run; its last epoch always writes one."""

    @field_validator("milestones", mode="before")
    @classmethod
    def _milestones(cls, values: Any) -> Any:
        """Convert the lists of TOML and JSON."""
        return tuple(values) if isinstance(values, list) else values

    @model_validator(mode="after")
    def _check_milestones(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones: must rise but got {list(self.milestones)}")
        if len({milestone < 1 for milestone in self.milestones}) > 1:
            values = list(self.milestones)
            raise ValueError(
                f"milestones: must all be shares below 1, or all epochs from 1 on, but got {values}"
            )
        return self

    def check(self, epochs: int) -> None:
        """Hold the settings against the number of epochs of a run.

        Raises:
            ValueError: One line that begins with the key.
        """
        if self.schedule == "step" and self.milestones and self.milestones[-1] >= max(epochs, 1):
            raise ValueError(
                f"milestones: must be below the number of epochs, {epochs}, but got {self.milestones[-1]:g}"
            )
