"""Contrastive representation distillation (Tian, Krishnan and Isola, arXiv 1910.10699)."""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from lpstudy.methods.loss import Loss, Step, cross_entropy, full_precision
from lpstudy.methods.method import Needs, TrainingSamples
from lpstudy.methods.negatives import Negatives
from lpstudy.methods.soft_targets import FeatureMethod
from lpstudy.outputs import Outputs


class Contrast(nn.Module):
    """Linear embeddings of student and teacher, and a memory of both for every training sample.

    The memories and what the draws depend on are buffers: state of the training, without a gradient.

    Args:
        features: Features of the student's embedding and of the teacher's.
        size: Features that both are mapped to.
        negatives: The draws of the negatives, of all training samples.
        device: The device of the weights.
    """

    memories: Tensor
    """Shape (2, n, size): the student's embeddings of length 1, then the teacher's; random at first."""
    log_z: Tensor
    """Shape (2,): the logarithms of Z for student and teacher as anchors; log n before the first batch."""
    steps: Tensor
    """The number of updates, 0-dimensional."""

    def __init__(
        self,
        features: tuple[int, int],
        size: int,
        negatives: Negatives,
        *,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Linear(inputs, size, device=device) for inputs in features)
        self.negatives = negatives
        bound = 1 / math.sqrt(size / 3)  # so that a row's expected squared length is 1
        memories = torch.empty(2, negatives.samples, size, device=device).uniform_(-bound, bound)
        self.register_buffer("memories", memories)
        self.register_buffer("log_z", torch.full((2,), math.log(negatives.samples), device=device))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64, device=device))

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Both embeddings with rows of length 1, shape (m, size), in full precision."""
        values = zip(self.embeddings, (student, teacher), strict=True)
        with torch.autocast(student.device.type, enabled=False):
            mine, theirs = (
                functional.normalize(layer(full_precision(each)), dim=1) for layer, each in values
            )
        return mine, theirs

    def scores(self, anchors: tuple[Tensor, Tensor], temperature: float) -> tuple[Tensor, Tensor]:
        """v_i . u_j / T of each anchor v_i with all rows u_j of the other network's memory, shape (m, n)."""
        with torch.autocast(self.memories.device.type, enabled=False):
            mine, theirs = anchors
            return mine @ self.memories[1].T / temperature, theirs @ self.memories[0].T / temperature

    @torch.no_grad()
    def remember(self, anchors: tuple[Tensor, Tensor], samples: Tensor, momentum: float) -> None:
        """Move the rows of some samples towards their embeddings, then scale them to length 1 again."""
        for memory, anchor in zip(self.memories, anchors, strict=True):
            rows = momentum * memory[samples] + (1 - momentum) * anchor
            memory.index_copy_(0, samples, functional.normalize(rows, dim=1))


def nce_loss(scores: Tensor, samples: Tensor, counts: Tensor, *, log_z: Tensor) -> Tensor:
    """-1/m * sum_i [log h(i, i) + sum_j c_ij log(1 - h(i, j))], h = P / (P + K/n), P = exp(score) / Z.

    Args:
        scores: Shape (m, n): each anchor with the memory of all n training samples. Receives the gradient.
        samples: int64, shape (m,): the anchors' positions among the n.
        counts: Shape (m, n): how often each was drawn as a negative; K in each row.
        log_z: log Z, 0-dimensional.

    Source: arXiv 1910.10699, equation 18 with N = K and M = n; the authors' code
    (https://github.com/HobbitLong/RepDistiller) adds 1e-7 to P + K/n.
    """
    k, n = counts[:1].sum(), scores.shape[1]
    logits = scores - log_z - torch.log(k / n)
    positives = functional.logsigmoid(logits.gather(1, samples[:, None]))
    return -(positives.sum() + (counts * functional.logsigmoid(-logits)).sum()) / scores.shape[0]


def log_mean_exp(scores: Tensor, samples: Tensor, counts: Tensor) -> Tensor:
    """Log of the mean of exp(score) over a row's positive and its drawn negatives; shape (m,)."""
    drawn = torch.logsumexp(scores + counts.log(), dim=1)
    positives = scores.gather(1, samples[:, None])[:, 0]
    return torch.logaddexp(drawn, positives) - torch.log(counts.sum(dim=1) + 1)


class CRD(FeatureMethod):
    """CE + weight * NCE: the student's embedding of a sample matches the teacher's of it, not of others.

    Anchors of either network are contrasted with the other's memory. Negatives are drawn, with replacement,
    from the samples of other classes, as the authors' code does for labelled data; a sample without a label
    has all others.

    Source: Tian et al., arXiv 1910.10699, section 3.2; two memories as in the authors' code.
    """

    method: Literal["crd"] = "crd"
    reads_samples: ClassVar[bool] = True
    weight: Annotated[float, Field(ge=0, le=1000)] = 0.8
    """Factor of the NCE term: 0.8 as published; search 0.1 to 2."""
    n_negatives: Annotated[int, Field(ge=1, le=10**7)] = 16384
    """K, the negatives of each sample in a step; at most the fewest samples that are of other classes."""
    nce_temperature: Annotated[float, Field(ge=0.01, le=100)] = 0.07
    """Divides the products of embeddings of length 1: 0.07 as published; search 0.02 to 0.3."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of a memory's row that stays when its sample is seen: 0.5 as published; search 0.1 to 0.9."""
    feature_dim: Annotated[int, Field(ge=1, le=65536)] = 128
    """Features of the embeddings that are compared, and of a memory's row."""

    @override
    def feature_needs(self) -> Needs:
        return Needs(embedding=True)

    @override
    def auxiliary(self, student: Outputs, teacher: Outputs, samples: TrainingSamples) -> nn.Module:
        mine, theirs = student.embedding, teacher.embedding
        negatives = Negatives(samples.labels, self.n_negatives)
        features = mine.shape[1], theirs.shape[1]
        return Contrast(features, self.feature_dim, negatives, device=mine.device)

    @override
    def feature_weights(self, progress: float) -> dict[str, float]:
        return {"nce": self.weight}

    @override
    def feature_loss(self, step: Step) -> Loss:
        contrast, anchors = self._anchors(step)
        counts = contrast.negatives.counts(step.samples, contrast.steps, anchors[0].dtype)
        scores = contrast.scores(anchors, self.nce_temperature)
        terms = [
            nce_loss(each, step.samples, counts, log_z=log_z)
            for each, log_z in zip(scores, contrast.log_z, strict=True)
        ]
        return cross_entropy(step).plus("nce", torch.stack(terms).sum(), weight=step.weights["nce"])

    @override
    def update(self, step: Step) -> None:
        contrast, anchors = self._anchors(step)
        mine, theirs = (step.gather(anchor) for anchor in anchors)
        contrast.remember((mine, theirs), step.gather(step.samples), self.momentum)
        contrast.steps.add_(1)

    @override
    @torch.no_grad()
    def start(self, step: Step) -> dict[str, float]:
        """Set Z to n times the mean of exp(score) over the batch of all workers, for either anchor."""
        contrast, anchors = self._anchors(step)
        counts = contrast.negatives.counts(step.samples, contrast.steps, anchors[0].dtype)
        scores = contrast.scores(anchors, self.nce_temperature)
        rows = step.gather(torch.stack([log_mean_exp(each, step.samples, counts) for each in scores], dim=1))
        contrast.log_z.copy_(torch.logsumexp(rows, dim=0) + math.log(counts.shape[1] / rows.shape[0]))
        return {}

    @override
    def diagnose(self, step: Step) -> dict[str, float]:
        contrast = cast(Contrast, step.auxiliary)
        return {"negatives": float(contrast.negatives.drawn)}

    @override
    def warnings(self, metrics: Mapping[str, float], *, batch_size: int, classes: int) -> tuple[str, ...]:
        if metrics.get("negatives", self.n_negatives) >= self.n_negatives - 0.5:
            return ()
        return (
            f"fewer negatives: n_negatives is {self.n_negatives}, but the training part has not as many"
            " samples of other classes for each; so many are drawn as it has",
        )

    def _anchors(self, step: Step) -> tuple[Contrast, tuple[Tensor, Tensor]]:
        contrast = cast(Contrast, step.auxiliary)
        return contrast, contrast(step.student.embedding, step.teacher.embedding)
