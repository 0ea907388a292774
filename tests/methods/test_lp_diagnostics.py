import math

import numpy as np
import pytest
import torch
from method_steps import step_on, unweighted

from lpstudy.methods import lp_diagnostics
from lpstudy.methods.bp import BP
from lpstudy.methods.lp import LP, lp_loss
from lpstudy.outputs import Outputs

LINE = torch.tensor([[0.0, 0.0], [3.0, 4.0]])


def test_mean_affinity_is_the_mean_over_edges() -> None:
    assert lp_diagnostics.mean_affinity(torch.tensor([[0.0, 1.0], [0.5, 0.1]])) == pytest.approx(0.4)


def test_locality_is_the_loss_over_the_scatter_and_blind_to_the_scale() -> None:
    # Two points at distance 5: scatter 1/2 * (6.25 + 6.25), loss of the edge with weight 1: 1/(2*2) * 2 * 25.
    loss = lp_loss(LINE, LINE, n_neighbors=1, bandwidth=1e9)
    assert float(loss) == pytest.approx(12.5)
    assert lp_diagnostics.locality(loss, LINE) == pytest.approx(2.0)
    smaller = lp_loss(LINE / 100, LINE, n_neighbors=1, bandwidth=1e9)
    assert float(smaller) == pytest.approx(12.5e-4)
    assert lp_diagnostics.locality(smaller, LINE / 100) == pytest.approx(2.0)


def test_locality_of_equal_features_is_zero() -> None:
    assert lp_diagnostics.locality(torch.tensor(0.0), torch.ones(4, 2)) == 0


def test_feature_rms_is_the_root_of_the_mean_square() -> None:
    assert lp_diagnostics.feature_rms(LINE) == pytest.approx(2.5)


def test_effective_rank_counts_equally_strong_directions() -> None:
    assert lp_diagnostics.effective_rank(torch.eye(6)[:, :4]) == pytest.approx(4)
    assert lp_diagnostics.effective_rank(torch.outer(torch.arange(5.0), torch.ones(3))) == pytest.approx(1)
    # Singular values 3 and 1: shares 3/4 and 1/4.
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert lp_diagnostics.effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(
        math.exp(entropy)
    )


def test_effective_rank_falls_when_samples_shrink_to_a_common_point() -> None:
    noise = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    ranks = [lp_diagnostics.effective_rank(1 + size * noise) for size in (1.0, 0.1, 0.01)]
    assert ranks[0] > 10 > ranks[1] > 2 > ranks[2]
    assert lp_diagnostics.effective_rank(torch.ones(8, 4)) == pytest.approx(1)
    assert lp_diagnostics.effective_rank(torch.zeros(8, 4)) == 0


def test_effective_rank_of_what_is_not_finite_is_no_number_and_no_error() -> None:
    assert math.isnan(lp_diagnostics.effective_rank(torch.tensor([[1.0, math.nan], [0.0, 1.0]])))
    assert lp_diagnostics.finite_metrics({"a": math.nan, "b": math.inf, "c": 1.0}) == {"c": 1.0}


def _features(kind: str) -> torch.Tensor:
    """Of 128 samples, as a student may have them."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    match kind:
        case "more features than samples":
            return normal(128, 500)
        case "fewer":
            return normal(128, 64)
        case "after a ReLU":
            return normal(128, 500).relu()
        case "of rank 7":
            return normal(128, 7) @ normal(7, 500)
        case "far from the origin":
            return normal(128, 500) + 1000
        case "nearly collapsed":
            return torch.ones(128, 1) * normal(1, 500) + 1e-6 * normal(128, 500)
        case "collapsed":
            return torch.ones(128, 1) * normal(1, 500)
    return 1e-20 * normal(128, 500)


@pytest.mark.parametrize(
    "kind",
    [
        "more features than samples",
        "fewer",
        "after a ReLU",
        "of rank 7",
        "far from the origin",
        "nearly collapsed",
        "collapsed",
        "tiny",
    ],
)
def test_effective_rank_is_that_of_the_singular_values(kind: str) -> None:
    features = _features(kind)
    values = np.linalg.svd(features.double().numpy(), compute_uv=False)
    shares = values[values > 0] / values.sum()
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert lp_diagnostics.effective_rank(features) == pytest.approx(expected, rel=1e-6)


def test_dead_units_are_those_that_never_vary() -> None:
    features = torch.tensor([[0.0, 5.0, 1.0, -1.0], [0.0, 5.0, 2.0, -3.0], [0.0, 5.0 + 1e-6, 1.0, -2.0]])
    assert lp_diagnostics.dead_units(features) == pytest.approx(0.5)
    assert lp_diagnostics.dead_units(torch.relu(-torch.rand(4, 3))) == 1


def test_knn_purity_is_the_share_of_edges_within_a_class() -> None:
    neighbors = torch.tensor([[1, 2], [0, 3], [3, 0], [2, 1]])
    assert lp_diagnostics.knn_purity(neighbors, torch.tensor([0, 0, 1, 1])) == pytest.approx(0.5)
    assert lp_diagnostics.knn_purity(neighbors, torch.tensor([0, 0, 0, 1])) == pytest.approx(0.5)
    assert lp_diagnostics.knn_purity(neighbors, torch.zeros(4, dtype=torch.int64)) == 1


def test_knn_overlap_is_blind_to_the_order_of_neighbours() -> None:
    one = torch.tensor([[1, 2], [2, 0], [0, 1]])
    assert lp_diagnostics.knn_overlap(one, one.flip(1)) == 1
    assert lp_diagnostics.knn_overlap(one, torch.tensor([[2, 3], [3, 0], [3, 4]])) == pytest.approx(1 / 3)


def test_dose_is_gamma_k_and_the_affinity_of_the_median_edge() -> None:
    assert lp_diagnostics.dose(0.1, 5, 0.5) == pytest.approx(0.5 * math.exp(-2))
    assert LP(gamma=0.1, n_neighbors=5, bandwidth=0.5).dose == pytest.approx(0.5 * math.exp(-2))


def test_gradient_ratio_stays_finite_without_a_gradient_to_compare_with() -> None:
    features = torch.ones(2, requires_grad=True)
    assert lp_diagnostics.gradient_ratio(
        (3 * features).sum(), (2 * features).sum(), features
    ) == pytest.approx(1.5)
    other = torch.ones(2, requires_grad=True)
    assert lp_diagnostics.gradient_ratio(other.sum(), features.sum(), features) == 0
    assert math.isfinite(lp_diagnostics.gradient_ratio(features.sum(), other.sum(), features))


HEALTHY = {"mean_affinity": 0.4, "effective_rank": 9.0, "dead_units": 0.1, "lp_ce_gradient_ratio": 0.02}


@pytest.mark.parametrize(
    ("changed", "begins"),
    [
        ({"dead_units": 0.95}, "collapse: "),
        ({"effective_rank": 2.6}, "collapse: "),
        ({"effective_rank": 0.0}, "collapse: "),
        ({"mean_affinity": 0.009}, "vanished graph: the mean affinity is below .01"),
        ({"mean_affinity": 0.96}, "vanished graph: the mean affinity is above .95"),
        ({"lp_ce_gradient_ratio": 0.19}, "strong gradient: "),
    ],
)
def test_each_failure_is_called_by_its_name(changed: dict[str, float], begins: str) -> None:
    (warning,) = LP().warnings(HEALTHY | changed, batch_size=128, classes=10)
    assert warning.startswith(begins)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"dead_units": 0.9},
        {"effective_rank": 2.7},
        {"mean_affinity": 0.011},
        {"mean_affinity": 0.94},
        {"lp_ce_gradient_ratio": 0.18},
    ],
)
def test_what_is_healthy_gives_no_warning(changed: dict[str, float]) -> None:
    assert LP().warnings(HEALTHY | changed, batch_size=128, classes=10) == ()


def test_two_classes_need_less_rank_than_ten() -> None:
    assert LP().warnings({"effective_rank": 1.6}, batch_size=128, classes=2) == ()
    assert LP().warnings({"effective_rank": 1.4}, batch_size=128, classes=2) != ()


@pytest.mark.parametrize(
    ("k", "classes", "warned"), [(8, 16, False), (9, 16, True), (1, 128, False), (1, 129, True)]
)
def test_more_neighbours_than_samples_of_a_class_are_warned_of(k: int, classes: int, warned: bool) -> None:
    found = LP(n_neighbors=k).warnings({}, batch_size=128, classes=classes)
    assert bool(found) == warned
    assert all(line.startswith(f"many neighbours: n_neighbors is {k} ") for line in found)


def test_collapsed_features_are_found_from_outputs_to_warning() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = Outputs(torch.randn(64, 10, generator=generator), torch.randn(64, 20, generator=generator))
    labels = torch.arange(64) % 10
    noise = torch.randn(64, 30, generator=generator)
    for features, collapsed in ((noise, False), (1 + 0.01 * noise, True), (torch.zeros(64, 30), True)):
        metrics = LP().diagnose(step_on(unweighted(10), Outputs(teacher.logits, features), teacher, labels))
        found = LP().warnings(metrics, batch_size=64, classes=10)
        assert any(line.startswith("collapse: ") for line in found) == collapsed


def test_baselines_have_nothing_to_diagnose() -> None:
    outputs = Outputs(torch.zeros(4, 3), torch.zeros(4, 2))
    assert BP().diagnose(step_on(unweighted(3), outputs, None, torch.arange(4) % 3)) == {}
    assert BP().warnings({"dead_units": 1.0}, batch_size=4, classes=3) == ()
