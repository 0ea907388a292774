"""Softmax regression representation learning: the teacher's classifier on the student's features."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from lpstudy.methods.batch_norm import BatchNorm
from lpstudy.methods.loss import Loss, Step, cross_entropy, full_precision
from lpstudy.methods.method import Needs, TrainingSamples
from lpstudy.methods.soft_targets import FeatureMethod
from lpstudy.outputs import Outputs

TermWeight = Annotated[float, Field(ge=0, le=1000)]


class Connector(nn.Module):
    """relu(bn(W f)): the student's embedding in the space of the teacher's.

    W is a 1x1 convolution of a map of one place, so a linear layer without bias. The batch norm sees the
    batch of all workers.

    Args:
        student: Features of the student's embedding.
        teacher: Features of the teacher's.
        device: The device of the weights.
    """

    def __init__(self, student: int, teacher: int, *, device: torch.device | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(student, teacher, bias=False, device=device)
        self.norm = BatchNorm(teacher, device=device)
        # As the authors draw the weights of a 1x1 convolution: variance 2 / outputs.
        nn.init.kaiming_normal_(self.linear.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, embedding: Tensor) -> Tensor:
        """Shape (m, student's features) to (m, teacher's features), in full precision."""
        projected: Tensor = self.norm(full_precision(self.linear(embedding)))
        return torch.relu(projected)


class SRRL(FeatureMethod):
    """CE + feature_weight * MSE(h, f_t) + regression_weight * MSE(W_t h, z_t), h the connected embedding.

    W_t is the teacher's classifier, frozen; f_t and z_t are its embedding and logits. The means are over
    samples and features, or classes. h is not negative, so the teacher's embedding should not be either, as
    after a ReLU and a pool.

    Source: Yang et al., Knowledge distillation via softmax regression representation learning, ICLR 2021,
    equations 3 and 4; means and connector as in the authors' code (https://github.com/jingyang2017/KD_SRRL),
    on the embedding as in https://github.com/DefangChen/SimKD.
    """

    method: Literal["srrl"] = "srrl"
    feature_weight: TermWeight = 1.0
    """Factor of the mean squared difference of the embeddings: 1 as published; search 0.1 to 10."""
    regression_weight: TermWeight = 1.0
    """Factor of the mean squared difference of the logits that the teacher's classifier makes of them: 1 as
    published; search 0.1 to 10."""

    @override
    def feature_needs(self) -> Needs:
        return Needs(logits=True, embedding=True, classifier=True)

    @override
    def auxiliary(self, student: Outputs, teacher: Outputs, samples: TrainingSamples) -> nn.Module:
        mine, theirs = student.embedding, teacher.embedding
        return Connector(mine.shape[1], theirs.shape[1], device=mine.device)

    @override
    def feature_weights(self, progress: float) -> dict[str, float]:
        return {"features": self.feature_weight, "regression": self.regression_weight}

    @override
    def feature_loss(self, step: Step) -> Loss:
        teacher = step.teacher
        connected = step.auxiliary(step.gather(step.student.embedding))
        embedding, logits = (
            full_precision(step.gather(values)) for values in (teacher.embedding, teacher.logits)
        )
        with torch.autocast(connected.device.type, enabled=False):
            regression = functional.mse_loss(step.teacher_classifier(connected), logits)
        features = functional.mse_loss(connected, embedding)
        loss = cross_entropy(step).plus("features", features, weight=step.weights["features"])
        return loss.plus("regression", regression, weight=step.weights["regression"])
