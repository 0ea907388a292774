"""The interface of a distillation method: its hyperparameters, its inputs from the teacher, its loss."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from lpstudy.diagnostic import Diagnostic
from lpstudy.methods.loss import Loss, Step
from lpstudy.outputs import PROJECTED, Network, Outputs

EMBEDDING = "embedding"
"""The name of the penultimate features as a layer; every other name is a map's."""
SEPARATOR = "@"
"""Stands between a map and its reduction: see `lpstudy.methods.reductions.reduced`."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The teacher's outputs that a method reads; with `Needs()`, none, the teacher does not run."""

    logits: bool = False
    embedding: bool = False
    maps: tuple[str, ...] = ()
    """The names of maps, or of reduced ones, in the order in which the loss gets them; a repeated name counts
    once."""
    classifier: bool = False
    """Whether it reads `step.teacher_classifier`: the teacher is then refused where it has no such layer."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "maps", tuple(dict.fromkeys(self.maps)))


@dataclass(frozen=True, slots=True)
class TrainingSamples:
    """The training part, as an auxiliary module may need it."""

    labels: Tensor
    """int64, shape (n,): the label of each sample by its position, NO_LABEL for one without."""

    @property
    def count(self) -> int:
        """n, the number of samples."""
        return len(self.labels)


class Distillation(BaseModel, ABC):
    """The base class of a method, whose fields are its hyperparameters; each has a default.

    `resolved` comes first, once the networks are known: its result is what everything else is called on. The
    outputs of a step hold exactly the maps that `student_maps` and `teacher_needs` name, in their order.
    Losses are in nats, or squared units of the features.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    method: str
    """The method's name in a study file; a subclass gives it as `Literal["name"] = "name"`."""
    ce_weight: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Factor of CE. Published soft targets often have 0.1 beside 0.9."""
    term_warmup_epochs: Annotated[int, Field(ge=0, le=10000)] = 0
    """Epochs over which the factors of all terms but CE rise linearly: in epoch e they are
    min(e / term_warmup_epochs, 1) times their values."""
    reads_teacher: ClassVar[bool] = True
    """Whether any of its hyperparameters lets it read the teacher: False for a baseline."""
    reuses_classifier: ClassVar[bool] = False
    """Whether the student ends in the teacher's classifier, in place of its own: it is then built with a
    projector, whose map is PROJECTED; both stay in the student."""
    diagnostics: ClassVar[tuple[Diagnostic, ...]] = ()
    """What of the numbers that `start` and `diagnose` return the report's table shows; all are in MLflow."""

    @property
    def reads_samples(self) -> bool:
        """Whether its loss reads `step.samples`: only then has each repetition of a recorded step its own."""
        return False

    @property
    def reads_images(self) -> bool:
        """Whether its loss reads `step.images`."""
        return False

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
        if self.ce_weight == 0 and not any(self.weights(0.999).values()):
            raise ValueError("ce_weight: must be above 0, for the loss has no other term")

    def resolved(self, student: Network, teacher: Network | None) -> Self:
        """The method for these networks: every layer has a name, and the networks have what it reads.

        Raises:
            ValueError: A network has no layer of a name in the hyperparameters, there is no teacher, or the
                student has a classifier of its own where it should end in the teacher's.
        """
        if teacher is None:
            if self.reads_teacher:
                raise ValueError(f"{self.method} needs a teacher")
            named = self
        else:
            if self.reuses_classifier and student.pooled != PROJECTED:
                raise ValueError(f"{self.method} needs a student that ends in the teacher's classifier")
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

    def auxiliary(self, student: Outputs, teacher: Outputs, samples: TrainingSamples) -> nn.Module | None:
        """A module that is trained with the student and then dropped, on the device of the outputs, or None.

        Its weights come from the global random generator, which the caller forks and seeds. Its buffers are
        state of the training too: they are part of the checkpoint.

        Args:
            student: Example outputs of the student, for their shapes.
            teacher: Example outputs of the teacher.
            samples: The training part.
        """
        del student, teacher, samples
        return None

    def weights_in(self, epoch: int, epochs: int) -> dict[str, float]:
        """`weights` at the start of an epoch, counted from 1, with the warm-up of the terms."""
        warmup = self.term_warmup_epochs
        factor = min(epoch / warmup, 1.0) if warmup else 1.0
        return {name: factor * weight for name, weight in self.weights((epoch - 1) / epochs).items()}

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

    def update(self, step: Step) -> None:
        """Change the buffers of the auxiliary module, in place, after the gradient of a batch's loss.

        It runs once a step under no_grad, before the weights change; the loss itself changes no state. All
        workers must end with the same values: what a batch adds goes through `step.gather`.
        """
        del step

    def diagnose(self, step: Step) -> dict[str, float]:
        """Metrics of one batch, once an epoch and under no_grad; finite numbers only."""
        del step
        return {}

    def start(self, step: Step) -> dict[str, float]:
        """Metrics of the first batch, before the first update, on every worker; the graph is kept.

        It may set buffers of the auxiliary module, alike on all workers.
        """
        del step
        return {}

    def warnings(self, metrics: Mapping[str, float], *, batch_size: int, classes: int) -> tuple[str, ...]:
        """One line per problem; a problem has the same text in every epoch."""
        del metrics, batch_size, classes
        return ()


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
    if name == EMBEDDING and not network.map_names:
        raise ValueError(f"needs a map of the {role}, which has none")
    if name == EMBEDDING:
        raise ValueError(f"needs a map of the {role}, one of {maps}, not {name!r}")
    if name not in network.map_names and name != network.pooled:
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
