"""The graphs that the LP term may be built on: the teacher's, and those that it is compared with.

No function waits for the device. What looks random is a function of the positions of the batch's samples in
the training part alone: it is the same after a restart, on any number of workers and in any order of the
batch.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lpstudy.methods.graph import Graph, knn_graph

GraphName = Literal["teacher", "shuffled", "random", "labels", "input", "mutual", "all"]
_MASK = 0xFFFFFFFF
"""Numbers below 2^32: their products with numbers below 2^31 fit into int64."""


@dataclass(frozen=True, slots=True)
class GraphSource:
    """What a graph is made of, m samples of all workers."""

    features: Tensor
    """Shape (m, q): the teacher's, or the images' pixels for the graph `input`."""
    labels: Tensor
    """int64, shape (m,); below 0 for an image without a label."""
    samples: Tensor
    """int64, shape (m,): positions in the training part."""


def named_graph(name: GraphName, source: GraphSource, n_neighbors: int) -> Graph:
    """A graph by name, with at most n_neighbors neighbours of each sample.

    teacher, input: the nearest by the features. shuffled: the same graph after the samples have exchanged
    their places. random: random others, as many of the sample's own label as the nearest have. labels: the
    nearest of the sample's own label, none for a sample without one. mutual: the nearest that have the sample
    among their own nearest. all: every other sample.

    Distances, which the affinities are made of, are those of the features; shuffled: of the exchanged ones.
    """
    features = source.features
    count = features.shape[0] - 1 if name == "all" else min(n_neighbors, features.shape[0] - 1)
    if name == "shuffled":
        return knn_graph(features[permutation(source.samples)], count)
    if name == "labels":
        return knn_graph(features, count, same_label(source.labels))
    nearest = knn_graph(features, count)
    if name == "random":
        return knn_graph(features, count, random_others(nearest, source))
    return nearest.only(mutual_edges(nearest)) if name == "mutual" else nearest


def same_label(labels: Tensor) -> Tensor:
    """Whether two samples have one label, shape (m, m); an image without a label has none in common."""
    return (labels[:, None] == labels) & (labels >= 0)


def mutual_edges(graph: Graph) -> Tensor:
    """Which neighbours have the sample among their neighbours, shape (m, k)."""
    samples = graph.neighbors.shape[0]
    is_neighbor = torch.zeros(samples, samples, dtype=torch.bool, device=graph.neighbors.device)
    is_neighbor.scatter_(1, graph.neighbors, True)
    return is_neighbor.T.gather(1, graph.neighbors)


def permutation(samples: Tensor) -> Tensor:
    """Whose place each sample of a batch takes, shape (m,): sample i takes that of permutation[i].

    The sample that is p-th by position takes the place of the p-th by a scrambled position.
    """
    scrambled = _scrambled(samples + _batch_number(samples))
    return torch.empty_like(samples).scatter_(0, samples.argsort(), scrambled.argsort())


def random_others(nearest: Graph, source: GraphSource) -> Tensor:
    """As many random others as nearest ones, of each label too: which samples they are, shape (m, m)."""
    labels, samples, count = source.labels, source.samples, nearest.neighbors.shape[1]
    is_same = same_label(labels)
    of_label = is_same.gather(1, nearest.neighbors).sum(dim=1, keepdim=True)
    scores = _pair_scores(samples)
    is_other = ~torch.eye(len(samples), dtype=torch.bool, device=samples.device)
    return _lowest(scores, is_same & is_other, of_label) | _lowest(
        scores, ~is_same & is_other, count - of_label
    )


def _lowest(scores: Tensor, allowed: Tensor, count: Tensor) -> Tensor:
    """The `count` lowest scores of each row among the allowed ones as a mask, shape (m, m)."""
    among = scores.masked_fill(~allowed, _MASK + 1)
    limits = among.sort(dim=1).values.gather(1, (count - 1).clamp(min=0))
    return (among <= limits) & allowed & (count > 0)


def _pair_scores(samples: Tensor) -> Tensor:
    """A number in [0, 2^32) for each pair of samples, which differs from batch to batch, shape (m, m)."""
    one = _scrambled(samples + _batch_number(samples))
    return _scrambled(40503 * one[:, None] + one)


def _batch_number(samples: Tensor) -> Tensor:
    """A number in [0, 2^32) of the samples of a batch in any order."""
    return _scrambled(samples).sum() & _MASK


def _scrambled(values: Tensor) -> Tensor:
    """Numbers in [0, 2^32) that look random, one to one for numbers in [0, 2^32)."""
    values = values & _MASK
    for _ in range(2):
        values = ((values >> 16) ^ values) * 0x45D9F3B & _MASK
    return (values >> 16) ^ values
