"""One try of an imported method's loss, on random outputs of the networks' shapes, before anything trains."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lpstudy.methods import Distillation, Loss, StepContext, TrainingSamples
from lpstudy.outputs import Classifier, Outputs
from lpstudy.user_lines import is_imported

MOST_VALUES = 2**28
"""Values of all outputs, 1 GiB, beyond which the loss is not tried."""


@dataclass(frozen=True, slots=True)
class BatchShape:
    """The batch of a try."""

    samples: int
    input_shape: tuple[int, int, int]
    classes: int
    labels: Tensor
    """Those of the training part."""


def try_loss(method: Distillation, student: Outputs, teacher: Outputs, batch: BatchShape) -> None:
    """Compute an imported method's loss and its gradient once; the built-in ones are known to work.

    Args:
        method: The method, resolved for the networks.
        student: Outputs on the meta device, of any number of images.
        teacher: Likewise.
        batch: The batch.

    Raises:
        ValueError: What the method returns is no loss with a gradient for the student. Other errors are the
            method's own.
    """
    per_sample = sum(value[0].numel() for outputs in (student, teacher) for value in _tensors(outputs))
    if not is_imported(type(method).__module__) or per_sample * batch.samples > MOST_VALUES:
        return
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(0)
        mine, theirs = _random(student, batch.samples), _random(teacher, batch.samples)
        leaves = _tensors(mine)
        for value in leaves:
            value.requires_grad_()
        samples = torch.arange(batch.samples) % len(batch.labels)
        classifier = None
        if method.teacher_needs().classifier:
            classifier = Classifier(torch.randn(batch.classes, theirs.embedding.shape[1]), None)
        with torch.no_grad():
            auxiliary = method.auxiliary(mine, theirs, TrainingSamples(batch.labels))
        context = StepContext(
            method.weights(0.5), _same, batch.classes, method.ce_weight, classifier=classifier
        )
        labels = torch.randint(batch.classes, (batch.samples,))
        step = context.step(mine, theirs, labels, samples, auxiliary)
        if method.reads_images:
            step = replace(step, input_images=torch.randn(batch.samples, *batch.input_shape))
        loss = method.loss(step)
        if not isinstance(loss, Loss):
            returned = type(loss).__name__
            raise ValueError(
                f"loss: must return a Loss, as cross_entropy(step).plus(...) does, not {returned}"
            )
        if loss.total.dim() > 0:
            raise ValueError(f"loss: must have 0 dimensions but has shape {tuple(loss.total.shape)}")
        if not loss.total.requires_grad:
            raise ValueError("loss: has no gradient for the student")
        loss.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped


def _tensors(outputs: Outputs) -> list[Tensor]:
    return [outputs.logits, outputs.embedding, *outputs.maps.values()]


def _random(outputs: Outputs, samples: int) -> Outputs:
    logits, embedding, *maps = (torch.randn(samples, *value.shape[1:]) for value in _tensors(outputs))
    return Outputs(logits, embedding, dict(zip(outputs.maps, maps, strict=True)))


def _same(rows: Tensor) -> Tensor:
    return rows
