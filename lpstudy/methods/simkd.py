"""SimKD: the student ends in the teacher's classifier (Chen et al., arXiv 2203.14001)."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy, full_precision
from lpstudy.methods.method import EMBEDDING, Needs, TrainingSamples, layer_of
from lpstudy.methods.soft_targets import FeatureMethod
from lpstudy.outputs import PROJECTED, Network, Outputs


def projection_loss(projected: Tensor, target: Tensor) -> Tensor:
    """Mean of (projected - target)^2 over samples, channels and places.

    Where one map has more rows or columns than the other, it is averaged down to as many.

    Args:
        projected: Shape (m, channels, height, width). Receives the gradient.
        target: Shape (m, channels, height', width').

    Source: equation 3 of the paper; sizes as in the authors' code, https://github.com/DefangChen/SimKD.
    """
    maps = [full_precision(projected), full_precision(target.detach())]
    size = (min(values.shape[2] for values in maps), min(values.shape[3] for values in maps))
    mine, theirs = (
        values if tuple(values.shape[2:]) == size else functional.adaptive_avg_pool2d(values, size)
        for values in maps
    )
    return functional.mse_loss(mine, theirs)


class SimKD(FeatureMethod):
    """weight * MSE(projected map, teacher's last map); the student ends in the teacher's classifier.

    The student has a projector of 1x1 - 3x3 - 1x1 convolutions and the teacher's frozen classifier in place
    of its own. Both stay: they count in its parameters and MACs, and are part of its file. No label is read
    where CE has no weight.
    """

    method: Literal["simkd"] = "simkd"
    reuses_classifier: ClassVar[bool] = True
    ce_weight: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Factor of CE: 0 as published."""
    weight: Annotated[float, Field(gt=0, le=1e5)] = 1.0
    """Factor of the mean squared difference: 1 as published; search 0.1 to 100."""
    teacher_layer: Annotated[str, Field(min_length=1)] | None = None
    """The teacher's map that the projected one learns: where none is named, the one whose average is its
    embedding, or the embedding where there is no such map. `embedding` compares averages alone, which a bank
    always has room for."""

    @override
    def with_default_layers(self, student: Network, teacher: Network) -> Self:
        layer = self.teacher_layer or teacher.pooled or EMBEDDING
        return self.model_copy(update={"teacher_layer": layer})

    @override
    def feature_needs(self) -> Needs:
        if self.teacher_layer is None or self.teacher_layer == EMBEDDING:
            return Needs(embedding=True, classifier=True)
        return Needs(maps=(self.teacher_layer,), classifier=True)

    @override
    def student_maps(self) -> tuple[str, ...]:
        return (PROJECTED,)

    @override
    def auxiliary(self, student: Outputs, teacher: Outputs, samples: TrainingSamples) -> nn.Module | None:
        channels, features = self._target(teacher).shape[1], student.embedding.shape[1]
        if channels != features:
            raise ValueError(
                f"teacher_layer: needs the {features} channels of the classifier's input, but"
                f" {self.teacher_layer} has {channels}"
            )
        return None

    @override
    def feature_weights(self, progress: float) -> dict[str, float]:
        return {"projection": self.weight}

    @override
    def feature_loss(self, step: Step) -> Loss:
        term = projection_loss(step.student.maps[PROJECTED], self._target(step.teacher))
        return cross_entropy(step).plus("projection", term, weight=step.weights["projection"])

    def _target(self, teacher: Outputs) -> Tensor:
        values = layer_of(teacher, self.teacher_layer)
        return values[:, :, None, None] if self.teacher_layer == EMBEDDING else values
