"""Diagnostics of LP's effect on the features, once an epoch on one batch, and the warnings from them.

Features have shape (m, p) with m of at least 2; a result that is not finite is dropped by `finite_metrics`.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lpstudy.diagnostic import Diagnostic
from lpstudy.outputs import NO_LABEL

DIAGNOSTICS = (
    Diagnostic("lp_ce_gradient_ratio", "LP/CE gradient ratio at the start"),
    Diagnostic("mean_affinity", "mean affinity"),
    Diagnostic("locality", "locality"),
    Diagnostic("feature_rms", "feature RMS"),
    Diagnostic("effective_rank", "effective rank"),
    Diagnostic("dead_units", "dead units"),
    Diagnostic("knn_purity", "k-NN purity"),
    Diagnostic("knn_overlap", "k-NN overlap"),
)
"""What the report shows of what LP logs; the dose and sigma^2 are in MLflow alone."""


def mean_affinity(weights: Tensor, is_edge: Tensor | None = None) -> float:
    """Mean weight of the graph's edges: near 0 the LP term is silently off, near 1 distances are ignored."""
    return _mean_over(weights, is_edge)


def _mean_over(values: Tensor, is_edge: Tensor | None) -> float:
    """The mean over the edges, which all neighbours are by default; not a number where there are none."""
    if is_edge is None:
        return float(values.double().mean())
    counted = torch.where(is_edge, values, torch.zeros_like(values)).double()
    return float(counted.sum() / is_edge.sum())


def locality(lp: Tensor, features: Tensor) -> float:
    """LP / (1/m * sum_i |s_i - mean|^2): falls when neighbours come closer than the rest, not with the scale.

    0 where all features coincide.
    """
    scatter = (features - features.mean(dim=0)).square().sum() / features.shape[0]
    return float(torch.where(scatter > 0, lp / scatter, torch.zeros_like(scatter)))


def feature_rms(features: Tensor) -> float:
    """Root of the mean squared feature, in units of the features."""
    return float(features.square().mean().sqrt())


def effective_rank(features: Tensor) -> float:
    """exp(H) with H the entropy of the features' normalised singular values, from 1 to min(m, p).

    Not centred: when the samples shrink towards a common point, only their offset remains and the rank falls
    towards 1, while that of the centred features rises to that of noise. 0 where all features are 0, not a
    number where a feature is not finite.

    The singular values are the roots of the smaller Gram matrix's eigenvalues, in float64 and on the CPU: a
    fourth of the time of a singular value decomposition there, and a GPU is slow on matrices this small. The
    rank is the same to 2e-6 of it, where all features but their rounding coincide; elsewhere to 1e-6.

    Source: Roy and Vetterli, EUSIPCO 2007.
    """
    values = features.double()
    gram = values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values
    gram = gram.cpu()
    if not bool(gram.isfinite().all()):
        return math.nan
    roots = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    total = roots.sum()
    return float(torch.special.entr(roots / total).sum().exp()) if float(total) > 0 else 0.0


def dead_units(features: Tensor) -> float:
    """Share of the features that are equal for all samples, up to rounding, as those of a dead ReLU are."""
    highest, lowest = features.amax(dim=0), features.amin(dim=0)
    size = torch.maximum(highest.abs(), lowest.abs())
    return float((highest - lowest <= 1e-6 * size).float().mean())


def knn_purity(neighbors: Tensor, labels: Tensor, is_edge: Tensor | None = None) -> float:
    """Share of the edges, neighbours of shape (m, k), that join samples of one label.

    Edges of an image without a label do not count; not a number where all are such.
    """
    has_labels = (labels[neighbors] != NO_LABEL) & (labels != NO_LABEL)[:, None]
    counted = has_labels if is_edge is None else has_labels & is_edge
    return _mean_over(labels[neighbors] == labels[:, None], counted)


def knn_overlap(one: Tensor, other: Tensor, is_edge: Tensor | None = None) -> float:
    """Share of the edges, neighbours of shape (m, k), of one graph whose ends are neighbours in the other."""
    return _mean_over((one[:, :, None] == other[:, None, :]).any(dim=2), is_edge)


def dose(gamma: float, n_neighbors: int, bandwidth: float) -> float:
    """The dose gamma * k * exp(-1 / bandwidth), with the relative bandwidth: LP's pull at the median edge."""
    return gamma * n_neighbors * math.exp(-1 / bandwidth)


def gradient_ratio(term: Tensor, reference: Tensor, features: Tensor) -> float:
    """|d term / d features| / |d reference / d features|; the graph is kept."""
    norms = [
        torch.autograd.grad(value, features, retain_graph=True, materialize_grads=True)[0].float().norm()
        for value in (term, reference)
    ]
    return float(norms[0]) / max(float(norms[1]), torch.finfo(torch.float32).tiny)


def finite_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """The finite metrics."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def collapse_warnings(metrics: Mapping[str, float], *, batch_size: int, classes: int) -> list[str]:
    """A warning where nearly all units are dead or the rank is too low to tell the batch's classes apart.

    The limit of the rank is 1 + log2(classes) / 2. It was set on digits, 32 runs of 15 epochs with and
    without batch normalisation, 2 and 10 classes, gamma from 0 to 100: at their last epoch the runs with an
    accuracy of under 50 % were below it and all others above.
    """
    rank = 1 + math.log2(min(classes, batch_size)) / 2
    if metrics.get("dead_units", 0.0) <= 0.9 and metrics.get("effective_rank", math.inf) >= rank:
        return []
    return ["collapse: the student's features are nearly the same for all samples; lower gamma"]


def vanished_graph_warnings(metrics: Mapping[str, float]) -> list[str]:
    """A warning where the affinities are nearly all 0 or nearly all 1."""
    affinity = metrics.get("mean_affinity", 0.5)
    if affinity < 0.01:
        return ["vanished graph: the mean affinity is below .01, LP does nothing; raise bandwidth"]
    if affinity > 0.95:
        return ["vanished graph: the mean affinity is above .95, distances are ignored; lower bandwidth"]
    return []


def strong_gradient_warnings(metrics: Mapping[str, float]) -> list[str]:
    """A warning where LP pulls the features too hard from the first step on."""
    if metrics.get("lp_ce_gradient_ratio", 0.0) < 0.19:
        return []
    return ["strong gradient: the LP/CE gradient ratio at the start is .19 or more; lower gamma"]
