import numpy as np
import pytest
import torch
from scipy.sparse import csgraph
from sklearn.neighbors import kneighbors_graph
from torch import Tensor

from lpstudy.methods.graph import affinities, knn_graph, laplacian, relative_bandwidth


def normal(samples: int, features: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, features, generator=generator, dtype=torch.float64)


def true_neighbors(features: Tensor, k: int) -> Tensor:
    """Neighbours by float64 differences, one pair at a time."""
    distances = torch.cdist(features.double(), features.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return distances.fill_diagonal_(torch.inf).topk(k, largest=False).indices


def found(neighbors: Tensor, expected: Tensor) -> float:
    """Share of the expected neighbours that were found."""
    return float((expected[:, :, None] == neighbors[:, None, :]).any(2).double().mean())


@pytest.mark.parametrize("k", [1, 5, 39])
def test_equals_scikit_learns_graph(k: int) -> None:
    features = normal(40, 6)
    graph = knn_graph(features, k)
    dense = torch.zeros(40, 40, dtype=torch.float64).scatter_(
        1, graph.neighbors, graph.squared_distances.sqrt()
    )
    reference = kneighbors_graph(features.numpy(), k, mode="distance", include_self=False).toarray()
    np.testing.assert_allclose(dense.numpy(), reference, atol=1e-12)


def test_neighbours_come_from_the_nearest_to_the_farthest() -> None:
    graph = knn_graph(torch.tensor([[0.0], [1.0], [3.0], [7.0]]), 3)
    assert graph.neighbors.tolist() == [[1, 2, 3], [0, 2, 3], [1, 0, 3], [2, 1, 0]]
    torch.testing.assert_close(
        graph.squared_distances, torch.tensor([[1.0, 9, 49], [1, 4, 36], [4, 9, 16], [16, 36, 49]])
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("k", [1, 3, 11])
def test_a_sample_is_never_its_own_neighbour_among_duplicates(dtype: torch.dtype, k: int) -> None:
    features = normal(3, 5).repeat_interleave(4, dim=0).to(dtype)
    graph = knn_graph(features, k)
    assert not (graph.neighbors == torch.arange(12)[:, None]).any()
    if k == 3:
        assert (graph.neighbors // 4 == torch.arange(12)[:, None] // 4).all()
        assert graph.squared_distances.max() < 1e-5


def test_rounding_makes_no_distance_negative() -> None:
    features = normal(1, 64).float().repeat(128, 1) + 1e-5 * normal(128, 64, seed=1).float()
    features[0] += 100
    norms = (centred := features - features.mean(0)).square().sum(1)
    assert (norms[:, None] + norms - 2 * centred @ centred.T).min() < 0
    graph = knn_graph(features, 3)
    assert graph.squared_distances.min() >= 0
    assert affinities(graph, relative_bandwidth(graph, 0.25)).max() <= 1


def test_is_directed() -> None:
    graph = knn_graph(torch.tensor([[0.0], [1.0], [10.0]]), 1)
    assert graph.neighbors.tolist() == [[1], [0], [1]]


def test_a_large_offset_hides_no_neighbour_in_float32() -> None:
    features = normal(128, 64).float() + 1000
    expected = true_neighbors(features, 5)
    assert found(knn_graph(features, 5).neighbors, expected) > 0.98
    # The form without centring fails here, so the test tells them apart.
    norms = features.square().sum(1)
    naive = (norms[:, None] + norms - 2 * features @ features.T).fill_diagonal_(torch.inf)
    assert found(naive.topk(5, largest=False).indices, expected) < 0.7


def test_a_large_offset_hides_no_neighbour_under_bf16_autocast() -> None:
    features = normal(128, 64).float() + 100
    expected = true_neighbors(features, 5)
    with torch.autocast("cpu", torch.bfloat16):
        graph = knn_graph(features, 5)
        naive = (torch.full((128, 128), 0.0) - 2 * features @ features.T).fill_diagonal_(torch.inf)
    assert graph.squared_distances.dtype == torch.float32
    assert found(graph.neighbors, expected) > 0.98
    assert found(naive.topk(5, largest=False).indices, expected) < 0.15


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_compared_in_float32(dtype: torch.dtype) -> None:
    features = (normal(128, 64) + 4).to(dtype)
    graph = knn_graph(features, 5)
    assert graph.squared_distances.dtype == torch.float32
    assert found(graph.neighbors, true_neighbors(features, 5)) > 0.99


@pytest.mark.parametrize("relative", [0.25, 1.0, 2.0])
def test_bandwidth_is_relative_to_the_median_squared_distance_of_the_edges(relative: float) -> None:
    features = normal(9, 4)
    edges = kneighbors_graph(features.numpy(), 3, mode="distance").data ** 2
    expected = relative * np.median(edges)
    assert float(relative_bandwidth(knn_graph(features, 3), relative)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_affinities_of_a_relative_bandwidth_do_not_depend_on_the_scale(scale: float) -> None:
    graph = knn_graph(normal(20, 4) * scale, 3)
    same = knn_graph(normal(20, 4), 3)
    torch.testing.assert_close(
        affinities(graph, relative_bandwidth(graph, 0.5)), affinities(same, relative_bandwidth(same, 0.5))
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e4])
def test_equal_features_give_affinities_and_no_division_by_zero(dtype: torch.dtype, value: float) -> None:
    graph = knn_graph(torch.full((6, 3), value, dtype=dtype), 2)
    bandwidth = relative_bandwidth(graph, 0.25)
    assert bandwidth > 0
    edges = affinities(graph, bandwidth)
    assert edges.isfinite().all()
    torch.testing.assert_close(edges, torch.ones_like(edges))


def test_duplicates_in_the_majority_leave_a_bandwidth_above_the_rounding() -> None:
    features = torch.cat([torch.ones(10, 3), torch.zeros(2, 3)])
    graph = knn_graph(features, 1)
    norm = float((features - features.mean(0)).square().sum(1).mean())
    assert float(relative_bandwidth(graph, 1.0)) >= torch.finfo(torch.float32).eps * norm * 0.999
    assert affinities(graph, relative_bandwidth(graph, 1.0)).isfinite().all()


@pytest.mark.parametrize(("bandwidth", "affinity"), [(1e-6, 0.0), (1e9, 1.0)])
def test_a_raw_bandwidth_far_from_the_distances_gives_only_zeros_or_only_ones(
    bandwidth: float, affinity: float
) -> None:
    edges = affinities(knn_graph(normal(20, 4), 3), bandwidth)
    torch.testing.assert_close(edges, torch.full_like(edges, affinity))


def test_laplacian_equals_scipys_of_the_symmetrised_graph() -> None:
    features = normal(15, 4)
    weights = affinities(graph := knn_graph(features, 4), 2.0)
    directed = kneighbors_graph(features.numpy(), 4, mode="distance")
    directed.data = np.exp(-(directed.data**2) / 2.0)
    reference = csgraph.laplacian(((directed + directed.T) / 2).toarray())
    np.testing.assert_allclose(laplacian(graph, weights).numpy(), reference, atol=1e-12)


def test_features_receive_no_gradient() -> None:
    graph = knn_graph(normal(5, 2).requires_grad_(), 2)
    assert not graph.squared_distances.requires_grad


@pytest.mark.parametrize(
    ("shape", "k", "message"),
    [
        ((5, 2), 5, "n_neighbors must be below the number of samples in the batch but is 5 of 5"),
        ((1, 2), 1, "n_neighbors must be below the number of samples in the batch but is 1 of 1"),
        ((5, 2), 0, "n_neighbors must be at least 1 but is 0"),
        ((5, 2, 2), 1, r"shape \(samples, features\) but have \(5, 2, 2\)"),
    ],
)
def test_what_has_no_graph_is_refused(shape: tuple[int, ...], k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knn_graph(torch.zeros(shape), k)
