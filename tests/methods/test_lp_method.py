import numpy as np
import pytest
import torch
from method_steps import step_on, unweighted
from naive_lp import naive, normal, outputs, step_of
from torch import Tensor

from lpstudy.methods import StepContext
from lpstudy.methods.graph import knn_graph, relative_bandwidth
from lpstudy.methods.lp import LP, unit_rows
from lpstudy.outputs import Network, Outputs


def term(method: LP, student: Tensor, teacher: Tensor, *, progress: float = 0.9) -> float:
    labels = torch.arange(len(student)) % 3
    step = step_of(method, progress)
    return float(method.loss(step_on(step, outputs(student), outputs(teacher), labels)).parts["lp"])


def test_method_measures_with_the_bandwidth_relative_to_the_batch() -> None:
    student, teacher = normal(15, 4, seed=1), normal(15, 6, seed=2)
    sigma2 = 0.5 * np.median(knn_graph(teacher, 3).squared_distances.numpy())
    expected, _ = naive(student.numpy(), teacher.numpy(), 3, sigma2)
    method = LP(n_neighbors=3, bandwidth=0.5)
    assert term(method, student, teacher) == pytest.approx(expected, rel=1e-12)
    assert term(method, student, teacher * 1000) == pytest.approx(expected, rel=1e-9)


def test_method_clamps_k_on_a_short_batch_and_gives_nothing_for_one_sample() -> None:
    student, teacher = normal(4, 4, seed=1), normal(4, 6, seed=2)
    assert term(LP(n_neighbors=8), student, teacher) == term(LP(n_neighbors=3), student, teacher)
    assert term(LP(n_neighbors=8), student[:1], teacher[:1]) == 0


@pytest.mark.parametrize(
    ("ramp", "progress", "weight"),
    [(0.0, 0.0, 0.3), (0.5, 0.0, 0.0), (0.5, 0.25, 0.15), (0.5, 0.5, 0.3), (1.0, 0.9, 0.27)],
)
def test_ramp_raises_the_weight_linearly(ramp: float, progress: float, weight: float) -> None:
    method = LP(gamma=0.3, ramp=ramp)
    assert method.weights(progress)["lp"] == pytest.approx(weight)
    step = step_of(method, progress)
    loss = method.loss(
        step_on(step, outputs(normal(9, 4)), outputs(normal(9, 4, seed=1)), torch.arange(9) % 3)
    )
    assert float(loss.total) == pytest.approx(float(loss.parts["ce"] + weight * loss.parts["lp"]), rel=1e-12)


def test_lp_kd_is_the_sum_of_both() -> None:
    student, teacher, labels = outputs(normal(9, 4)), outputs(normal(9, 4, seed=1)), torch.arange(9) % 3
    method = LP(gamma=0.2, kd_weight=0.7, kd_temperature=2.0)
    loss = method.loss(step_on(step_of(method), student, teacher, labels))
    ce, lp, kd = (float(loss.parts[name]) for name in ("ce", "lp", "kd"))
    assert float(loss.total) == pytest.approx(ce + 0.2 * lp + 0.7 * kd, rel=1e-12)
    assert lp == float(LP().loss(step_on(step_of(LP()), student, teacher, labels)).parts["lp"])


def test_normalised_student_features_have_length_1_and_the_term_no_scale() -> None:
    student, teacher = normal(12, 4, seed=1), normal(12, 6, seed=2)
    lengths = unit_rows(student).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=1e-4, atol=0)
    method = LP(normalize=True)
    assert term(method, student * 50, teacher) == pytest.approx(term(method, student, teacher), rel=1e-9)
    zeros = torch.zeros(3, 4, requires_grad=True)
    unit_rows(zeros).sum().backward()
    assert zeros.grad is not None
    assert zeros.grad.isfinite().all()


def test_maps_are_compared_as_flat_vectors() -> None:
    maps, hint = normal(10, 24, seed=1), normal(10, 8, seed=2)
    student = outputs(normal(10, 3), conv1=maps.reshape(10, 6, 2, 2))
    teacher = outputs(normal(10, 3), conv2=hint.reshape(10, 2, 2, 2))
    method = LP(layer="conv1", teacher_layer="conv2")
    lp = method.loss(step_on(step_of(method), student, teacher, torch.arange(10) % 3)).parts["lp"]
    assert float(lp) == pytest.approx(term(LP(), maps, hint), rel=1e-12)


def test_layers_are_asked_for_and_checked(student: Network, teacher: Network) -> None:
    assert LP().student_maps() == ()
    assert LP().teacher_needs().embedding
    assert not LP().teacher_needs().logits
    assert LP(kd_weight=1.0).teacher_needs().logits
    assert LP(layer="conv3").resolved(student, teacher).student_maps() == ("conv3",)
    needs = LP(teacher_layer="conv1").resolved(student, teacher).teacher_needs()
    assert (needs.embedding, needs.maps) == (False, ("conv1",))
    with pytest.raises(
        ValueError, match=r"the student has no layer 'pool'; it has embedding, conv1, conv2, conv3"
    ):
        LP(layer="pool").resolved(student, teacher)
    with pytest.raises(ValueError, match="the teacher has no layer 'pool'"):
        LP(teacher_layer="pool").resolved(student, teacher)
    with pytest.raises(ValueError, match=r"no map 'conv1', only \[\]"):
        LP(layer="conv1").loss(
            step_on(step_of(LP()), outputs(normal(4, 4)), outputs(normal(4, 4)), torch.arange(4) % 3)
        )


@pytest.mark.parametrize(
    "method", [LP(n_neighbors=3), LP(n_neighbors=3, normalize=True), LP(n_neighbors=3, kd_weight=1.0)]
)
def test_workers_share_one_graph_over_the_whole_batch(method: LP) -> None:
    student, teacher, labels = normal(12, 4, seed=1), normal(12, 6, seed=2), torch.arange(12) % 3
    whole = method.loss(step_on(step_of(method), outputs(student), outputs(teacher), labels)).parts["lp"]

    def gather(rows: Tensor) -> Tensor:
        # What a collective would bring: the rows of all workers, in their order.
        return student if rows.shape[1] == student.shape[1] else teacher

    step = StepContext(method.weights(0.9), gather, 3)
    for own in (slice(0, 6), slice(6, 12)):
        part = method.loss(step_on(step, outputs(student[own]), outputs(teacher[own]), labels[own])).parts[
            "lp"
        ]
        assert torch.equal(part, whole)


def test_teacher_features_are_gathered_without_a_gradient() -> None:
    # A collective with a gradient would be run backwards as well, for nothing.
    student, teacher = normal(6, 4, seed=1).requires_grad_(), normal(6, 5, seed=2).requires_grad_()
    gathered: dict[int, bool] = {}

    def gather(rows: Tensor) -> Tensor:
        gathered[rows.shape[1]] = rows.requires_grad
        return rows

    LP().loss(
        step_on(
            StepContext(LP().weights(0.9), gather, 3), outputs(student), outputs(teacher), torch.arange(6) % 3
        )
    )
    assert gathered == {4: True, 5: False}


def test_start_gives_the_gradient_ratio_of_the_full_gamma() -> None:
    embedding, teacher = normal(10, 3, seed=1).requires_grad_(), normal(10, 5, seed=2)
    head = normal(3, 3, seed=3)
    labels = torch.arange(10) % 3
    method = LP(gamma=0.4, n_neighbors=3, ramp=0.5)
    step = step_of(method, 0.0)
    metrics = method.start(step_on(step, Outputs(embedding @ head, embedding), outputs(teacher), labels))
    graph = knn_graph(teacher, 3)
    _, of_lp = naive(
        embedding.detach().numpy(), teacher.numpy(), 3, float(relative_bandwidth(graph, method.bandwidth))
    )
    logits = embedding.detach() @ head
    of_ce = (torch.softmax(logits, 1) - torch.eye(3, dtype=torch.float64)[labels]) @ head.T / 10
    expected = 0.4 * np.linalg.norm(of_lp) / float(of_ce.norm())
    assert metrics["lp_ce_gradient_ratio"] == pytest.approx(expected, rel=1e-5)
    assert metrics["dose"] == pytest.approx(0.4 * 3 * np.exp(-1))


def test_diagnose_names_what_issue_and_curves_rely_on() -> None:
    metrics = LP().diagnose(
        step_on(unweighted(3), outputs(normal(12, 4)), outputs(normal(12, 6, seed=1)), torch.arange(12) % 3)
    )
    assert set(metrics) == {
        "mean_affinity",
        "sigma2",
        "locality",
        "feature_rms",
        "effective_rank",
        "dead_units",
        "knn_purity",
        "knn_overlap",
    }
    teacher = normal(12, 6, seed=1)
    assert metrics["sigma2"] == pytest.approx(float(relative_bandwidth(knn_graph(teacher, 5), 1.0)))


def test_as_many_neighbours_as_the_smallest_batch_has_samples_are_refused() -> None:
    LP(n_neighbors=4).check(batch_size=5)
    with pytest.raises(ValueError, match=r"\An_neighbors: must be below training.batch_size = 5 but got 5\Z"):
        LP(n_neighbors=5).check(batch_size=5)
