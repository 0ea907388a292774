"""The graphs that LP is compared with, against plain Python; and terms of several layers."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from method_steps import step_on
from naive_lp import normal, outputs, step_of
from torch import Tensor

from lpstudy.methods.graph import Graph, affinities, relative_bandwidth
from lpstudy.methods.lp import LP, lp_term
from lpstudy.methods.lp_graphs import GraphName, GraphSource, named_graph, permutation
from lpstudy.outputs import NO_LABEL, Network
from lpstudy.testing import SmallNetwork

SAMPLES, K = 24, 4
LABELS = torch.tensor([0, 1, 2, NO_LABEL] * 5 + [0, 3, 0, 4])
"""Labels 3 and 4 have one sample each."""
SOURCE = GraphSource(normal(SAMPLES, 5), LABELS, torch.arange(100, 100 + SAMPLES) ** 2)
ORDER = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(1))


def edges(graph: Graph) -> list[set[int]]:
    """The neighbours of each sample."""
    is_edge = torch.ones_like(graph.neighbors, dtype=torch.bool) if graph.is_edge is None else graph.is_edge
    return [
        {int(j) for j, joined in zip(row, mask, strict=True) if joined}
        for row, mask in zip(graph.neighbors, is_edge, strict=True)
    ]


def nearest(features: Tensor, i: int, allowed: set[int], k: int) -> set[int]:
    distance = {j: float(((features[i] - features[j]) ** 2).sum()) for j in allowed - {i}}
    return set(sorted(distance, key=lambda j: distance[j])[:k])


ALL = set(range(SAMPLES))
TEACHER = [nearest(SOURCE.features, i, ALL, K) for i in range(SAMPLES)]


def own_label(i: int) -> set[int]:
    return {j for j in ALL - {i} if LABELS[j] == LABELS[i] != NO_LABEL}


def test_teacher_and_all_have_the_neighbours_that_they_say() -> None:
    assert edges(named_graph("teacher", SOURCE, K)) == TEACHER
    assert edges(named_graph("all", SOURCE, K)) == [ALL - {i} for i in range(SAMPLES)]


def test_labels_joins_the_nearest_of_one_label_and_nothing_without_one() -> None:
    found = edges(named_graph("labels", SOURCE, K))
    assert found == [nearest(SOURCE.features, i, own_label(i), K) for i in range(SAMPLES)]
    assert found[3] == found[21] == set()
    assert edges(named_graph("labels", SOURCE, 9)) == [own_label(i) for i in range(SAMPLES)]


def test_mutual_keeps_the_edges_that_go_both_ways() -> None:
    found = edges(named_graph("mutual", SOURCE, K))
    assert found == [{j for j in row if i in TEACHER[j]} for i, row in enumerate(TEACHER)]
    assert 0 < sum(map(len, found)) < SAMPLES * K


def test_shuffled_is_the_teachers_graph_of_other_samples() -> None:
    places = permutation(SOURCE.samples).tolist()
    assert sorted(places) == sorted(ALL)
    assert sum(i == place for i, place in enumerate(places)) < 5
    found = named_graph("shuffled", SOURCE, K)
    assert [{places[j] for j in row} for row in edges(found)] == [TEACHER[place] for place in places]
    exact = named_graph("teacher", SOURCE, K)
    torch.testing.assert_close(found.squared_distances, exact.squared_distances[places])


def test_random_has_as_many_of_the_own_label_as_the_nearest() -> None:
    found = edges(named_graph("random", SOURCE, K))
    for i, row in enumerate(found):
        assert len(row) == K
        assert i not in row
        assert len(row & own_label(i)) == len(TEACHER[i] & own_label(i))
    assert sum(len(one & other) for one, other in zip(found, TEACHER, strict=True)) < SAMPLES * K / 2


@pytest.mark.parametrize("name", get_args(GraphName))
def test_is_the_same_in_any_order_of_the_batch(name: GraphName) -> None:
    turned = GraphSource(SOURCE.features[ORDER], SOURCE.labels[ORDER], SOURCE.samples[ORDER])
    found, expected = edges(named_graph(name, turned, K)), edges(named_graph(name, SOURCE, K))
    order = ORDER.tolist()
    assert [{order[j] for j in row} for row in found] == [expected[i] for i in order]


@pytest.mark.parametrize("name", ["shuffled", "random"])
def test_chance_is_a_function_of_the_batchs_samples(name: GraphName) -> None:
    torch.manual_seed(0)
    first = edges(named_graph(name, SOURCE, K))
    torch.manual_seed(1)
    assert edges(named_graph(name, SOURCE, K)) == first
    samples = SOURCE.samples.clone()
    samples[0] += 1  # in another batch the same samples have others
    other = edges(named_graph(name, replace(SOURCE, samples=samples), K))
    assert sum(len(one & two) for one, two in zip(first, other, strict=True)) < SAMPLES * K / 2


def test_the_others_of_random_are_any_and_change_from_batch_to_batch() -> None:
    features, labels = normal(10, 3), torch.full((10,), NO_LABEL)
    counts = np.zeros((10, 10))
    for batch in range(400):
        graph = named_graph("random", GraphSource(features, labels, torch.arange(10) + 50 * batch), 3)
        for i, row in enumerate(edges(graph)):
            counts[i, list(row)] += 1
    others = counts[~np.eye(10, dtype=bool)]
    # 400 draws of 3 of 9: a standard deviation of 9.4 around 133.
    assert counts.diagonal().sum() == 0
    assert np.abs(others - 400 / 3).max() < 5 * 9.4
    assert others.std() == pytest.approx(9.4, rel=0.4)


def test_the_bandwidth_is_the_median_over_the_edges_alone() -> None:
    graph = named_graph("labels", SOURCE, K)
    assert graph.is_edge is not None
    distances = np.sort(graph.squared_distances[graph.is_edge].numpy())
    expected = 0.5 * distances[(len(distances) - 1) // 2]
    sigma2 = relative_bandwidth(graph, 0.5)
    assert float(sigma2) == pytest.approx(expected, rel=1e-12)
    weights = affinities(graph, sigma2)
    assert torch.equal(weights > 0, graph.is_edge)
    features = normal(SAMPLES, 3, seed=5)
    total = 0.0
    for i in range(SAMPLES):
        for weight, j in zip(weights[i], graph.neighbors[i], strict=True):
            total += float(weight * ((features[i] - features[j]) ** 2).sum()) / (2 * SAMPLES)
    assert float(lp_term(features, graph, sigma2)) == pytest.approx(total, rel=1e-12)


def test_a_graph_without_edges_gives_0_and_no_gradient() -> None:
    source = replace(SOURCE, labels=torch.full((SAMPLES,), NO_LABEL))
    graph = named_graph("labels", source, K)
    student = normal(SAMPLES, 3, seed=5).requires_grad_()
    sigma2 = relative_bandwidth(graph, 1.0)
    term = lp_term(student, graph, sigma2)
    term.backward()
    assert sigma2.isfinite()
    assert term == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_input_is_the_graph_of_the_pixels_and_reads_no_teacher() -> None:
    images = normal(SAMPLES, 12).reshape(SAMPLES, 3, 2, 2)
    method, student = LP(graph="input", n_neighbors=K), outputs(normal(SAMPLES, 3, seed=5))
    assert not method.feature_needs().embedding
    step = step_on(step_of(method), student, None, torch.arange(SAMPLES) % 3)
    found = method.loss(replace(step, input_images=images)).parts["lp"]
    by_pixels = LP(n_neighbors=K)
    step = step_on(step_of(by_pixels), student, outputs(images.flatten(1)), step.labels)
    assert torch.equal(found, by_pixels.loss(step).parts["lp"])
    with pytest.raises(ValueError, match="reads the images but the method's reads_images is false"):
        step.images  # noqa: B018 - what must fail


def test_what_a_graph_reads_is_what_it_says() -> None:
    methods = {name: LP(graph=name) for name in get_args(GraphName)}
    assert {name for name, method in methods.items() if method.reads_samples} == {"shuffled", "random"}
    assert {name for name, method in methods.items() if method.reads_images} == {"input"}
    assert {name for name, method in methods.items() if not method.feature_needs().embedding} == {"input"}


def test_all_needs_no_batch_above_n_neighbors_and_warns_of_none() -> None:
    LP(graph="all").check(batch_size=3)
    assert LP(graph="all").warnings({}, batch_size=5, classes=10) == ()
    assert LP(graph="teacher").warnings({}, batch_size=5, classes=10) != ()


@pytest.fixture
def networks() -> tuple[Network, Network]:
    return SmallNetwork(4, 6), SmallNetwork(6, 11)


def test_several_layers_are_a_sum_of_terms_with_graphs_of_their_own(
    networks: tuple[Network, Network],
) -> None:
    maps = {name: normal(9, 8, seed=seed).reshape(9, 2, 2, 2) for seed, name in enumerate(("conv1", "conv2"))}
    student, teacher = outputs(normal(9, 3, seed=7), **maps), outputs(normal(9, 4, seed=8), **maps)
    labels = torch.arange(9) % 3

    def term(**values: object) -> float:
        method = LP.model_validate({"n_neighbors": 3} | values).resolved(*networks)
        return float(method.loss(step_on(step_of(method), student, teacher, labels)).parts["lp"])

    one = term(layer="conv1", teacher_layer="conv2")
    other = term(layer="embedding", teacher_layer="embedding")
    both = {"layers": ["conv1", "embedding"], "teacher_layers": ["conv2", "embedding"]}
    assert term(**both) == pytest.approx(one + other, rel=1e-12)
    shared = term(layer="conv1", teacher_layer="embedding") + other
    assert term(layers=["conv1", "embedding"]) == pytest.approx(shared, rel=1e-12)
    method = LP.model_validate(both)
    assert method.student_maps() == ("conv1",)
    assert method.feature_needs().maps == ("conv2",)
    assert method.feature_needs().embedding


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"layers": ["conv1", "conv2"], "teacher_layers": ["conv1"] * 3}, "layers: must be as many as"),
        ({"layers": ["conv1"], "layer": "conv2"}, "layer: not together with layers"),
        ({"teacher_layers": ["conv1"], "teacher_layer": "conv2"}, "teacher_layer: not together with"),
        ({"layers": ["pool"]}, "the student has no layer 'pool'"),
        ({"teacher_layers": ["pool"]}, "the teacher has no layer 'pool'"),
    ],
)
def test_lists_that_do_not_fit_are_refused(
    values: dict[str, object], words: str, networks: tuple[Network, Network]
) -> None:
    with pytest.raises(ValueError, match=words):
        LP.model_validate(values).resolved(*networks)


def test_diagnostics_are_those_of_the_edges() -> None:
    student, teacher = outputs(normal(SAMPLES, 3, seed=5)), outputs(SOURCE.features)
    metrics = {
        name: LP(graph=name, n_neighbors=K).diagnose(step_on(step_of(LP()), student, teacher, LABELS))
        for name in ("teacher", "labels", "mutual")
    }
    assert metrics["labels"]["knn_purity"] == 1
    assert metrics["teacher"]["knn_purity"] < 1
    graph = named_graph("mutual", SOURCE, K)
    weights = affinities(graph, relative_bandwidth(graph, 1.0))
    expected = float(weights.sum()) / sum(map(len, edges(graph)))
    assert metrics["mutual"]["mean_affinity"] == pytest.approx(expected)
