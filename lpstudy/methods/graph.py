"""The teacher's k-nearest-neighbour graph of one batch: edges, heat-kernel affinities, Laplacian.

No function waits for the device or branches on a value; the cost is one Gram matrix and one top-k.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lpstudy.methods.loss import full_precision


@dataclass(frozen=True, slots=True)
class Graph:
    """A directed k-NN graph of m samples; a sample is not its own neighbour."""

    neighbors: Tensor
    """int64, shape (m, k): from the nearest to the farthest."""
    squared_distances: Tensor
    """Shape (m, k), in squared units of the features, never below 0."""
    mean_squared_norm: Tensor
    """0-dimensional: mean squared distance of the samples from their mean; rounding in a distance is of the
    order of eps times this."""
    is_edge: Tensor | None = None
    """Shape (m, k): which of the neighbours are joined; None where all are. The distance of those that are
    not is 0."""

    def only(self, is_edge: Tensor) -> "Graph":
        """The graph with no edges but these, shape (m, k)."""
        distances = torch.where(is_edge, self.squared_distances, 0)
        return Graph(self.neighbors, distances, self.mean_squared_norm, is_edge)


def knn_graph(features: Tensor, n_neighbors: int, among: Tensor | None = None) -> Graph:
    """The n_neighbors nearest other samples of each sample, by Euclidean distance.

    The features are centred and multiplied in float32 outside autocast (float64 stays float64): with a large
    common offset the Gram form would lose small distances, in bfloat16 nearly all of them. The diagonal is
    infinite, for of two equal samples either may come first. No square root is taken.

    Args:
        features: Shape (m, q). Receives no gradient.
        n_neighbors: k, from 1 to m - 1.
        among: Shape (m, m): whether the row's sample may have the column's as its neighbour; by default
            all may. A sample with fewer than k such others has fewer edges.

    Raises:
        ValueError: The features are not a matrix, or k is out of that range.
    """
    if features.dim() != 2:
        raise ValueError(f"features must have shape (samples, features) but have {tuple(features.shape)}")
    samples = features.shape[0]
    if n_neighbors < 1:
        raise ValueError(f"n_neighbors must be at least 1 but is {n_neighbors}")
    if n_neighbors >= samples:
        raise ValueError(
            f"n_neighbors must be below the number of samples in the batch but is {n_neighbors} of {samples}"
        )
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        values = full_precision(features)
        centred = values - values.mean(dim=0)
        gram = centred @ centred.T
        norms = gram.diagonal()
        relative_distances = torch.add(norms, gram, alpha=-2).fill_diagonal_(torch.inf)
        if among is not None:
            relative_distances.masked_fill_(~among, torch.inf)
        smallest, neighbors = relative_distances.topk(n_neighbors, dim=1, largest=False)
        graph = Graph(neighbors, smallest.add_(norms[:, None]).clamp_(min=0), norms.mean())
        return graph if among is None else graph.only(smallest < torch.inf)


def relative_bandwidth(graph: Graph, relative: float) -> Tensor:
    """sigma^2 = relative * median squared distance over the graph's edges; 0-dimensional.

    Never below eps times the mean squared norm, nor below the smallest normal number: equal features give
    affinities of 1, not 0/0. The lower of the two middle distances is the median of an even number.
    """
    limits = torch.finfo(graph.squared_distances.dtype)
    floor = (limits.eps * graph.mean_squared_norm).clamp(min=limits.tiny)
    return torch.maximum(relative * _median_distance(graph), floor)


def _median_distance(graph: Graph) -> Tensor:
    """The lower median of the squared distances over the edges, 0 where there are none; 0-dimensional."""
    if graph.is_edge is None:
        return graph.squared_distances.median()
    # The number of edges must not be known to the host, so the others come last.
    distances = torch.where(graph.is_edge, graph.squared_distances, torch.inf).flatten().sort().values
    middle = (graph.is_edge.sum() - 1).clamp(min=0) // 2
    median = distances.gather(0, middle[None])[0]
    return torch.where(median < torch.inf, median, 0)


def affinities(graph: Graph, bandwidth: float | Tensor) -> Tensor:
    """a_ij = exp(-|t_i - t_j|^2 / bandwidth) of the graph's edges, shape (m, k), in [0, 1]; 0 of no edge."""
    weights = torch.exp(-graph.squared_distances / bandwidth)
    return weights if graph.is_edge is None else weights * graph.is_edge


def laplacian(graph: Graph, weights: Tensor) -> Tensor:
    """L = diag(W 1) - W with W = (A + A^T) / 2, shape (m, m); A holds the edges' weights of shape (m, k)."""
    samples = weights.shape[0]
    halves = weights.new_zeros(samples, samples).scatter_(1, graph.neighbors, -weights / 2)
    lap = halves + halves.T  # its diagonal is 0: no sample is its own neighbour
    lap.diagonal().sub_(lap.sum(dim=1))
    return lap
