"""One batch as a loss sees it, the loss, and its first term: cross-entropy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lpstudy.outputs import NO_LABEL, Classifier, Outputs, Partners


@dataclass(frozen=True, slots=True)
class Step:
    """One batch of training, as a loss sees it."""

    student: Outputs
    """The student's outputs, with gradient; the maps are those of `student_maps`."""
    labels: Tensor
    """int64, shape (m,); NO_LABEL for an image without a label."""
    samples: Tensor
    """int64, shape (m,): each sample's position in the training part."""
    weights: Mapping[str, float | Tensor]
    """The method's `weights` of the epoch; 0-dimensional tensors where a step is recorded once and replayed
    with other values."""
    gather: Callable[[Tensor], Tensor]
    """The concatenation over workers along dimension 0, with gradient; the identity for one worker."""
    classes: int
    ce_weight: float = 1.0
    """Factor of CE; `cross_entropy` applies it."""
    label_smoothing: float = 0.0
    """Share of each label that `cross_entropy` spreads evenly over all classes."""
    teacher_outputs: Outputs | None = None
    """What `teacher` gives, or None where the method reads no teacher."""
    auxiliary_module: nn.Module | None = None
    """What `auxiliary` gives, or None where the method has none."""
    classifier: Classifier | None = None
    """What `teacher_classifier` gives, or None where the method reads none."""
    input_images: Tensor | None = None
    """What `images` gives, or None where the method does not read them."""
    partners: Partners | None = None
    """The other labels of mixed images: `labels` and `samples` are those with the larger share."""

    @property
    def images(self) -> Tensor:
        """The student's input, shape (m, channels, height, width), where the method's `reads_images` is true.

        Raises:
            ValueError: The method does not say that it reads them.
        """
        if self.input_images is None:
            raise ValueError("the loss reads the images but the method's reads_images is false")
        return self.input_images

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
    def teacher_classifier(self) -> Classifier:
        """The teacher's linear map from its embedding to its logits; its weights get no gradient.

        Raises:
            ValueError: There is none.
        """
        if self.classifier is None:
            raise ValueError("the loss needs the teacher's classifier but there is none")
        return self.classifier.detach()

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
    ce_weight: float = 1.0
    label_smoothing: float = 0.0
    classifier: Classifier | None = None
    """The teacher's, where the method reads it."""

    def step(
        self,
        student: Outputs,
        teacher: Outputs | None,
        labels: Tensor,
        samples: Tensor,
        auxiliary: nn.Module | None = None,
    ) -> Step:
        """The step of one batch."""
        return Step(
            student,
            labels,
            samples,
            self.weights,
            self.gather,
            self.classes,
            self.ce_weight,
            self.label_smoothing,
            teacher,
            auxiliary,
            self.classifier,
        )


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


def full_precision(values: Tensor) -> Tensor:
    """The values in float32, or unchanged where they are float64; the gradient returns in their own dtype."""
    return values if values.dtype == torch.float64 else values.float()


def cross_entropy(step: Step) -> Loss:
    """ce_weight * CE of the student's logits: the term that every loss starts from.

    CE is the mean over the batch's labelled images, with the study's label smoothing. Of mixed images it is
    share * CE of `labels` + (1 - share) * CE of the other labels, each the mean over those that are known.
    """
    value = _mean_cross_entropy(step, step.labels)
    if step.partners is not None:
        share = step.partners.own_share
        value = share * value + (1 - share) * _mean_cross_entropy(step, step.partners.labels)
    weighted = value if step.ce_weight == 1 else step.ce_weight * value
    return Loss(weighted, {"ce": value.detach()})


def _mean_cross_entropy(step: Step, labels: Tensor) -> Tensor:
    """CE of the student's logits, the mean over the images with a label."""
    return functional.cross_entropy(
        full_precision(step.student.logits),
        labels,
        ignore_index=NO_LABEL,
        label_smoothing=step.label_smoothing,
    )
