"""Locality preserving distillation: the student keeps the teacher's neighbourhoods (arXiv 1812.06597)."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from lpstudy.diagnostic import Diagnostic
from lpstudy.methods import lp_diagnostics
from lpstudy.methods.graph import Graph, affinities, knn_graph, laplacian, relative_bandwidth
from lpstudy.methods.loss import Loss, Step, cross_entropy, full_precision
from lpstudy.methods.lp_graphs import GraphName, GraphSource, named_graph
from lpstudy.methods.method import EMBEDDING, Needs, layer_of
from lpstudy.methods.soft_targets import FeatureMethod
from lpstudy.outputs import Network


def laplacian_loss(student: Tensor, lap: Tensor) -> Tensor:
    """tr(S^T L S) / m for features S of shape (m, p) and a Laplacian L of shape (m, m); gradient (2/m) L S.

    S is centred first: the same value and gradient, without the rounding that a common offset brings. There
    is no second derivative.
    """
    loss: Tensor = _LaplacianLoss.apply(student, lap)
    return loss


class _LaplacianLoss(torch.autograd.Function):
    """Multiplies L and S once for value and gradient, where autograd would multiply twice."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, lap: Tensor) -> Tensor:
        with torch.autocast(student.device.type, enabled=False):
            values = full_precision(student)
            centred = values - values.mean(dim=0)
            product = lap.to(values.dtype) @ centred
            ctx.save_for_backward(product)
            ctx.dtype = student.dtype
            return torch.dot(centred.flatten(), product.flatten()) / student.shape[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (product,) = ctx.saved_tensors
        return (product * (grads[0] * (2 / product.shape[0]))).to(ctx.dtype), None


def lp_loss(student: Tensor, teacher: Tensor, *, n_neighbors: int, bandwidth: float) -> Tensor:
    """1/(2m) * sum_ij a_ij |s_i - s_j|^2, a_ij = exp(-|t_i - t_j|^2 / bandwidth) on the teacher's k-NN graph.

    Args:
        student: Features, shape (m, p). The only input that receives a gradient.
        teacher: Features, shape (m, q); q may differ from p: no regressor is learned.
        n_neighbors: k of the directed graph; a sample is not its own neighbour.
        bandwidth: Heat-kernel bandwidth sigma^2, in squared units of the teacher's features.

    Raises:
        ValueError: The batch has fewer than n_neighbors other samples, the two are not matrices of equally
            many samples, n_neighbors is below 1, or the bandwidth is not above 0.

    Source: Chen et al., arXiv 1812.06597.
    """
    if student.dim() != 2 or student.shape[0] != teacher.shape[0]:
        raise ValueError(
            f"student and teacher must be matrices with one row per sample "
            f"but have shapes {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be above 0 but is {bandwidth}")
    return lp_term(student, knn_graph(teacher, n_neighbors), bandwidth)


def lp_term(student: Tensor, graph: Graph, bandwidth: float | Tensor) -> Tensor:
    """`lp_loss` on a graph of the teacher's features that is there; this is what training computes.

    Args:
        student: Features, shape (m, p). The only input that receives a gradient.
        graph: Of the same m samples.
        bandwidth: sigma^2, in squared units of the features that the graph was made of.
    """
    return laplacian_loss(student, laplacian(graph, affinities(graph, bandwidth)))


def unit_rows(features: Tensor) -> Tensor:
    """Each row divided by its length, shape (m, p).

    A millionth of the mean squared length is added under the root: the gradient of a row of zeros is finite.
    """
    values = full_precision(features)
    squared = values.square().sum(dim=1, keepdim=True)
    floor = (1e-6 * squared.detach().mean()).clamp(min=1e-12)
    return values * torch.rsqrt(squared + floor)


class LP(FeatureMethod):
    """CE + gamma * LP, and soft targets where kd_weight is above 0.

    The term alone is smallest when all features coincide, so CE cannot be switched off.
    """

    method: Literal["lp"] = "lp"
    diagnostics: ClassVar[tuple[Diagnostic, ...]] = lp_diagnostics.DIAGNOSTICS
    gamma: Annotated[float, Field(ge=0, le=1000)] = 0.01
    """Weight of the LP term once the ramp is over."""
    n_neighbors: Annotated[int, Field(ge=1, le=4096)] = 5
    """k; a batch with fewer other samples uses all of them."""
    bandwidth: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """sigma^2 relative to the median squared distance over the edges of the batch's graph."""
    ramp: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the training over which the weight rises linearly from 0 to gamma; saves too large a gamma."""
    normalize: bool = False
    """Whether the LP term gets the student's features scaled to length 1; widens the safe range of gamma."""
    layer: Annotated[str, Field(min_length=1)] = EMBEDDING
    """The student's layer: `embedding` or a map's name; flattened maps need a gamma 100 times smaller."""
    teacher_layer: Annotated[str, Field(min_length=1)] = EMBEDDING
    """The teacher's layer that the graph is built on."""
    layers: tuple[str, ...] | None = None
    """Several layers of the student in place of `layer`: the term is the sum of one for each."""
    teacher_layers: tuple[str, ...] | None = None
    """The teacher's layer for each of `layers`, in place of `teacher_layer`, which is one for all."""
    graph: GraphName = "teacher"
    """Neighbours: `teacher`, the nearest in the teacher's features. For comparison, `shuffled`: those of
    another sample; `random`: any, as many of the own label as the nearest are; `labels`: the nearest of the
    own label; `input`: the nearest by pixels; `mutual`: nearest both ways; `all`: all others."""

    @property
    def dose(self) -> float:
        """The dose gamma * k * exp(-1 / bandwidth): no collapse was measured below .03, most above .34."""
        return lp_diagnostics.dose(self.gamma, self.n_neighbors, self.bandwidth)

    @override
    def check(self, *, batch_size: int) -> None:
        super().check(batch_size=batch_size)
        if self.ce_weight == 0 and self.kd_weight == 0:
            raise ValueError("ce_weight: must be above 0 without kd_weight, or all features may coincide")
        if self.graph != "all" and self.n_neighbors >= batch_size:
            raise ValueError(
                f"n_neighbors: must be below training.batch_size = {batch_size} but got {self.n_neighbors}"
            )

    @property
    @override
    def reads_samples(self) -> bool:
        return self.graph in ("shuffled", "random")

    @property
    @override
    def reads_images(self) -> bool:
        return self.graph == "input"

    def pairs(self) -> list[tuple[str, str]]:
        """The layers of student and teacher of each term.

        Raises:
            ValueError: A key excludes another one, or the two lists differ in length.
        """
        for one, several in (("layer", self.layers), ("teacher_layer", self.teacher_layers)):
            if several is not None and getattr(self, one) != EMBEDDING:
                raise ValueError(f"{one}: not together with {one}s")
        mine, theirs = self.layers or (self.layer,), self.teacher_layers or (self.teacher_layer,)
        mine = mine * len(theirs) if len(mine) == 1 else mine
        theirs = theirs * len(mine) if len(theirs) == 1 else theirs
        if len(mine) != len(theirs):
            raise ValueError(
                f"layers: must be as many as teacher_layers but are {len(mine)} and {len(theirs)}"
            )
        return list(zip(mine, theirs, strict=True))

    @override
    def with_default_layers(self, student: Network, teacher: Network) -> Self:
        self.pairs()
        return self

    @override
    def feature_needs(self) -> Needs:
        layers = [] if self.graph == "input" else [theirs for _, theirs in self.pairs()]
        maps = tuple(layer for layer in layers if layer != EMBEDDING)
        return Needs(embedding=EMBEDDING in layers, maps=maps)

    @override
    def student_maps(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(mine for mine, _ in self.pairs() if mine != EMBEDDING))

    @override
    def feature_weights(self, progress: float) -> dict[str, float]:
        return {"lp": self.gamma if progress >= self.ramp else self.gamma * progress / self.ramp}

    def graph_of(self, source: GraphSource) -> tuple[Graph, Tensor]:
        """The graph of at least two samples, and its raw sigma^2."""
        graph = named_graph(self.graph, source, self.n_neighbors)
        return graph, relative_bandwidth(graph, self.bandwidth)

    def source(self, step: Step, teacher_layer: str, gather: Callable[[Tensor], Tensor]) -> GraphSource:
        """What the graph of a layer is made of, with the parts that it reads from all workers."""
        layer = step.images if self.reads_images else layer_of(step.teacher, teacher_layer)
        labels = gather(step.labels) if self.graph in ("random", "labels") else step.labels
        samples = gather(step.samples) if self.reads_samples else step.samples
        return GraphSource(gather(layer.flatten(1)), labels, samples)

    def lp_features(self, features: Tensor) -> Tensor:
        """The student's features as inputs of the LP term, shape (m, p)."""
        return unit_rows(features) if self.normalize else features

    def term(self, step: Step) -> Tensor:
        """The LP term over the batch of all workers, unweighted; 0 for a batch of one sample."""
        terms = [self._term_of(step, mine, theirs) for mine, theirs in self.pairs()]
        return terms[0] if len(terms) == 1 else torch.stack(terms).sum()

    def _term_of(self, step: Step, layer: str, teacher_layer: str) -> Tensor:
        student_rows = step.gather(layer_of(step.student, layer).flatten(1))
        source = self.source(step, teacher_layer, step.gather)
        if student_rows.shape[0] == 1:
            return full_precision(student_rows).sum() * 0
        graph, bandwidth = self.graph_of(source)
        return lp_term(self.lp_features(student_rows), graph, bandwidth)

    @override
    def feature_loss(self, step: Step) -> Loss:
        return cross_entropy(step).plus("lp", self.term(step), weight=step.weights["lp"])

    @override
    def start(self, step: Step) -> dict[str, float]:
        features = layer_of(step.student, self.pairs()[-1][0])
        weighted = self.gamma * self.term(step)
        ce = cross_entropy(step).total
        ratio = lp_diagnostics.gradient_ratio(weighted, ce, features)
        return lp_diagnostics.finite_metrics({"lp_ce_gradient_ratio": ratio, "dose": self.dose})

    @override
    def diagnose(self, step: Step) -> dict[str, float]:
        layer, teacher_layer = self.pairs()[-1]
        features = full_precision(layer_of(step.student, layer).flatten(1))
        if features.shape[0] < 2:
            return {}
        graph, bandwidth = self.graph_of(self.source(step, teacher_layer, lambda rows: rows))
        lp_features = self.lp_features(features)
        student_graph = knn_graph(features, graph.neighbors.shape[1])
        return lp_diagnostics.finite_metrics(
            {
                "mean_affinity": lp_diagnostics.mean_affinity(affinities(graph, bandwidth), graph.is_edge),
                "sigma2": float(bandwidth),
                "locality": lp_diagnostics.locality(lp_term(lp_features, graph, bandwidth), lp_features),
                "feature_rms": lp_diagnostics.feature_rms(features),
                "effective_rank": lp_diagnostics.effective_rank(features),
                "dead_units": lp_diagnostics.dead_units(features),
                "knn_purity": lp_diagnostics.knn_purity(graph.neighbors, step.labels, graph.is_edge),
                "knn_overlap": lp_diagnostics.knn_overlap(
                    graph.neighbors, student_graph.neighbors, graph.is_edge
                ),
            }
        )

    @override
    def warnings(self, metrics: Mapping[str, float], *, batch_size: int, classes: int) -> tuple[str, ...]:
        warnings = [*lp_diagnostics.collapse_warnings(metrics, batch_size=batch_size, classes=classes)]
        warnings += lp_diagnostics.vanished_graph_warnings(metrics)
        warnings += lp_diagnostics.strong_gradient_warnings(metrics)
        is_nearest = self.graph in ("teacher", "shuffled", "input", "mutual")
        if is_nearest and self.n_neighbors * classes > batch_size:
            warnings.append(
                f"many neighbours: n_neighbors is {self.n_neighbors} but should not be above "
                f"batch size / classes = {batch_size} / {classes}, or edges join different classes"
            )
        return tuple(warnings)
