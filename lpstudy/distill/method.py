"""The interface of a distillation method: its hyperparameters, its inputs from the teacher, its loss."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor, nn
from torch.nn import functional

from lpstudy.diagnostic import Diagnostic
from lpstudy.outputs import Network, Outputs

EMBEDDING = "embedding"
"""The name of the penultimate features as a layer; every other name is a map's."""
SEPARATOR = "@"
"""Stands between a map and its reduction: see `lpstudy.distill.reductions.reduced`."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The teacher's outputs that a method reads; with `Needs()`, none, the teacher does not run."""

    logits: bool = False
    embedding: bool = False
    maps: tuple[str, ...] = ()
    """The names of maps, or of reduced ones, in the order in which the loss gets them; a repeated name counts
    once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "maps", tuple(dict.fromkeys(self.maps)))


@dataclass(frozen=True, slots=True)
class Step:
    """One batch of training, as a loss sees it."""

    student: Outputs
    """The student's outputs, with gradient; the maps are those of `student_maps`."""
    labels: Tensor
    """int64, shape (m,)."""
    samples: Tensor
    """int64, shape (m,): each sample's position in the training part."""
    weights: Mapping[str, float | Tensor]
    """The method's `weights` of the epoch; 0-dimensional tensors where a step is recorded once and replayed
    with other values."""
    gather: Callable[[Tensor], Tensor]
    """The concatenation over workers along dimension 0, with gradient; the identity for one worker."""
    classes: int
    teacher_outputs: Outputs | None = None
    """What `teacher` gives, or None where the method reads no teacher."""
    auxiliary_module: nn.Module | None = None
    """What `auxiliary` gives, or None where the method has none."""

    @property
    def teacher(self) -> Outputs:
        """The teacher's outputs, without a gradient; the maps are those of `teacher_needs`.

        Raises:
            ValueError: There is no teacher.
        """
        if self.teacher_outputs is None:
            raise ValueError("the loss needs the teacher's outputs but there is no teacher")
        return self.teacher_outputs.detach()

    @property
    def auxiliary(self) -> nn.Module:
        """The module that is trained beside the student.

        Raises:
            ValueError: There is none.
        """
        if self.auxiliary_module is None:
            raise ValueError("the loss needs its auxiliary module but there is none")
        return self.auxiliary_module


@dataclass(frozen=True, slots=True)
class StepContext:
    """What all steps of an epoch have in common: see `Step`."""

    weights: Mapping[str, float | Tensor]
    gather: Callable[[Tensor], Tensor]
    classes: int

    def step(
        self,
        student: Outputs,
        teacher: Outputs | None,
        labels: Tensor,
        samples: Tensor,
        auxiliary: nn.Module | None = None,
    ) -> Step:
        """The step of one batch."""
        return Step(student, labels, samples, self.weights, self.gather, self.classes, teacher, auxiliary)


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss, a sum of weighted terms."""

    total: Tensor
    """The sum, 0-dimensional, with gradient."""
    parts: Mapping[str, Tensor]
    """The terms before weighting, detached, 0-dimensional: `ce`, `kd`, `hint`, `lp`."""

    def plus(self, name: str, term: Tensor, *, weight: float | Tensor) -> "Loss":
        """The loss plus weight * term, with the term in `parts` under its name."""
        return Loss(self.total + weight * term, {**self.parts, name: term.detach()})


class Distillation(BaseModel, ABC):
    """The base class of a method, whose fields are its hyperparameters; each has a default.

    `resolved` comes first, once the networks are known: its result is what everything else is called on. The
    outputs of a step hold exactly the maps that `student_maps` and `teacher_needs` name, in their order.
    Losses are in nats, or squared units of the features.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    method: str
    """The method's name in a study file; a subclass gives it as `Literal["name"] = "name"`."""
    reads_teacher: ClassVar[bool] = True
    """Whether any of its hyperparameters lets it read the teacher: False for a baseline."""
    diagnostics: ClassVar[tuple[Diagnostic, ...]] = ()
    """What of the numbers that `start` and `diagnose` return the report's table shows; all are in MLflow."""
    reads_samples: ClassVar[bool] = False
    """Whether its loss reads `step.samples`: only then has each repetition of a recorded step its own."""

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, table: Any) -> Any:
        """TOML and JSON have lists where a field is a tuple."""
        if not isinstance(table, Mapping):
            return table
        return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}

    def check(self, *, batch_size: int) -> None:
        """Hold the hyperparameters against the smallest batch that the study trains on.

        Raises:
            ValueError: One line that begins with the hyperparameter.
        """
        del batch_size

    def resolved(self, student: Network, teacher: Network | None) -> Self:
        """The method for these networks: every layer has a name, and the networks have what it reads.

        Raises:
            ValueError: A network has no layer of a name in the hyperparameters, or there is no teacher.
        """
        if teacher is None:
            if self.reads_teacher:
                raise ValueError(f"{self.method} needs a teacher")
            named = self
        else:
            named = self.with_default_layers(student, teacher)
            for name in named.teacher_needs().maps:
                check_map(teacher, layer_name(name), "teacher")
        for name in named.student_maps():
            check_map(student, name, "student")
        return named

    def with_default_layers(self, student: Network, teacher: Network) -> Self:
        """The method with a name for each layer that its hyperparameters leave open; `resolved` calls it."""
        del student, teacher
        return self

    @abstractmethod
    def teacher_needs(self) -> Needs:
        """The teacher's outputs that the method reads."""

    def student_maps(self) -> tuple[str, ...]:
        """The student's maps that the loss reads, in the order in which it gets them."""
        return ()

    def auxiliary(self, student: Outputs, teacher: Outputs) -> nn.Module | None:
        """A module that is trained with the student and then dropped, on the device of the outputs, or None.

        Its weights come from the global random generator, which the caller forks and seeds.
        """
        del student, teacher
        return None

    def weights(self, progress: float) -> dict[str, float]:
        """Factors of the terms besides CE: `kd`, `hint`, `lp`; a term without a factor is not computed.

        Args:
            progress: Share of the training before the epoch, in [0, 1).
        """
        del progress
        return {}

    def needs_of(self, needs: Needs, weights: Mapping[str, float]) -> Needs:
        """The part of `teacher_needs` that an epoch with these weights reads."""
        del weights
        return needs

    @abstractmethod
    def loss(self, step: Step) -> Loss:
        """The loss of one batch. No gradient reaches the teacher.

        Raises:
            ValueError: The method needs the teacher's outputs or an auxiliary module and there is none.
        """

    def diagnose(self, step: Step) -> dict[str, float]:
        """Metrics of one batch, once an epoch and under no_grad; finite numbers only."""
        del step
        return {}

    def start(self, step: Step) -> dict[str, float]:
        """Metrics of the first batch, before the first update, on every worker; the graph is kept."""
        del step
        return {}

    def warnings(self, metrics: Mapping[str, float], *, batch_size: int, classes: int) -> tuple[str, ...]:
        """One line per problem; a problem has the same text in every epoch."""
        del metrics, batch_size, classes
        return ()


def full_precision(values: Tensor) -> Tensor:
    """The values in float32, or unchanged where they are float64; the gradient returns in their own dtype."""
    return values if values.dtype == torch.float64 else values.float()


def cross_entropy(step: Step) -> Loss:
    """CE of the student's logits, the mean over the batch: the term that every loss starts from."""
    value = functional.cross_entropy(full_precision(step.student.logits), step.labels)
    return Loss(value, {"ce": value.detach()})


def layer_name(name: str) -> str:
    """The network's map that a name of `Needs.maps` is read from, which may be a reduced one."""
    return name.partition(SEPARATOR)[0]


def check_map(network: Network, name: str, role: str) -> None:
    """Refuse the name of a map that a network does not have.

    Args:
        network: The student or the teacher.
        name: The name in the hyperparameters.
        role: `student` or `teacher`, for the message.

    Raises:
        ValueError: The network has no such map; the message lists its layers.
    """
    maps = ", ".join(network.map_names)
    if name == EMBEDDING:
        raise ValueError(f"needs a map of the {role}, one of {maps}, not {name!r}")
    if name not in network.map_names:
        raise ValueError(f"the {role} has no layer {name!r}; it has {EMBEDDING}, {maps}")


def layer_of(outputs: Outputs, layer: str | None) -> Tensor:
    """The embedding, shape (m, features), or the map of a name, shape (m, channels, height, width).

    Raises:
        ValueError: The outputs have no map of that name, or the layer has no name yet: see `resolved`.
    """
    if layer is None:
        raise ValueError("a layer has no name: call method.resolved(student, teacher) first")
    if layer == EMBEDDING:
        return outputs.embedding
    if layer not in outputs.maps:
        raise ValueError(f"the outputs hold no map {layer!r}, only {sorted(outputs.maps)}")
    return outputs.maps[layer]
