import numpy as np
import pytest
import torch
from torch import Tensor

from lpstudy.distill import Step
from lpstudy.distill.graph import affinities, knn_graph, laplacian, relative_bandwidth
from lpstudy.distill.lp import LP, laplacian_loss, lp_loss, unit_rows
from lpstudy.distill.lp_kd import LPKD
from lpstudy.distill.method import Distillation
from lpstudy.outputs import Network, Outputs


def step_of(method: Distillation, progress: float = 0.9) -> Step:
    return Step(method.weights(progress), lambda rows: rows, 3)


def normal(samples: int, features: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, features, generator=generator, dtype=torch.float64)


def naive(student: np.ndarray, teacher: np.ndarray, k: int, bandwidth: float) -> tuple[float, np.ndarray]:
    """The definition as a double loop in float64: the loss and its gradient with respect to the student."""
    samples, loss, gradient = len(student), 0.0, np.zeros_like(student)
    for i in range(samples):
        distance = {j: float(((teacher[i] - teacher[j]) ** 2).sum()) for j in range(samples) if j != i}
        for j in sorted(distance, key=lambda other: distance[other])[:k]:
            affinity = np.exp(-distance[j] / bandwidth)
            difference = student[i] - student[j]
            loss += affinity * (difference**2).sum() / (2 * samples)
            gradient[i] += affinity * difference / samples
            gradient[j] -= affinity * difference / samples
    return loss, gradient


def outputs(embedding: Tensor, **maps: Tensor) -> Outputs:
    return Outputs(embedding[:, :3] * 2, embedding, maps)


@pytest.mark.parametrize(
    ("samples", "p", "q", "k", "bandwidth"),
    [(2, 1, 1, 1, 1.0), (12, 3, 7, 1, 0.5), (40, 9, 4, 5, 3.0), (25, 4, 30, 24, 40.0)],
)
def test_equals_a_naive_double_loop_and_so_does_its_gradient(
    samples: int, p: int, q: int, k: int, bandwidth: float
) -> None:
    student, teacher = normal(samples, p, seed=1).requires_grad_(), normal(samples, q, seed=2)
    expected, gradient = naive(student.detach().numpy(), teacher.numpy(), k, bandwidth)
    loss = lp_loss(student, teacher, n_neighbors=k, bandwidth=bandwidth)
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-10, rel=1e-10)
    loss.backward()
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), gradient, atol=1e-10, rtol=1e-10)


def test_passes_autograds_own_check_twice() -> None:
    teacher = normal(6, 3)
    student = normal(6, 2, seed=1).requires_grad_()

    def loss(features: Tensor) -> Tensor:
        return lp_loss(features, teacher, n_neighbors=2, bandwidth=1.5)

    assert torch.autograd.gradcheck(loss, student)
    assert torch.autograd.gradgradcheck(loss, student)


def test_equals_the_trace_of_the_graph_laplacian() -> None:
    student, teacher = normal(20, 5, seed=1).requires_grad_(), normal(20, 8, seed=2)
    graph = knn_graph(teacher, 4)
    lap = laplacian(graph, affinities(graph, 6.0))
    loss = lp_loss(student, teacher, n_neighbors=4, bandwidth=6.0)
    values = student.detach()
    assert float(loss.detach()) == pytest.approx(float(torch.trace(values.T @ lap @ values) / 20), rel=1e-12)
    loss.backward()
    torch.testing.assert_close(student.grad, 2 / 20 * lap @ values, rtol=0, atol=1e-13)


def test_gradient_reaches_the_student_and_never_the_teacher() -> None:
    student, teacher = normal(8, 3).requires_grad_(), normal(8, 3, seed=1).requires_grad_()
    lp_loss(student, teacher, n_neighbors=2, bandwidth=1.0).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_is_least_when_all_features_coincide() -> None:
    # Why cross-entropy is part of every loss with an LP term.
    teacher = normal(10, 4)
    same = torch.full((10, 3), 5.0, dtype=torch.float64)
    assert lp_loss(same, teacher, n_neighbors=3, bandwidth=1.0) == 0
    assert lp_loss(normal(10, 3), teacher, n_neighbors=3, bandwidth=1.0) > 0
    assert (
        "ce"
        in LP()
        .loss(outputs(normal(6, 4)), outputs(teacher[:6]), torch.arange(6) % 3, step_of(LP()), None)
        .parts
    )


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e4])
def test_float32_features_with_an_offset_give_the_value_of_float64(offset: float) -> None:
    student = (normal(64, 16, seed=1) + offset).float().requires_grad_()
    teacher = (normal(64, 32, seed=2) - offset).float()
    loss = lp_loss(student, teacher, n_neighbors=5, bandwidth=40.0)
    exact, gradient = naive(student.detach().double().numpy(), teacher.double().numpy(), 5, 40.0)
    assert float(loss.detach()) == pytest.approx(exact, rel=1e-4)
    loss.backward()
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), gradient, atol=1e-3 * np.abs(gradient).max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    student, teacher = normal(32, 16, seed=1).to(dtype).requires_grad_(), normal(32, 24, seed=2).to(dtype)
    outside = lp_loss(student, teacher, n_neighbors=5, bandwidth=20.0)
    with torch.autocast("cpu", torch.bfloat16):
        inside = lp_loss(student, teacher, n_neighbors=5, bandwidth=20.0)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)
    inside.backward()
    assert student.grad is not None
    assert student.grad.dtype == dtype


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_equal_features_of_teacher_or_student_give_finite_loss_and_gradient(value: float) -> None:
    same, labels = torch.full((8, 4), value), torch.arange(8) % 3
    for mine, theirs in ((same, normal(8, 4).float()), (normal(8, 4).float(), same), (same, same)):
        for method in (LP(), LP(normalize=True), LPKD()):
            student = mine.clone().requires_grad_()
            method.loss(outputs(student), outputs(theirs), labels, step_of(method), None).total.backward()
            assert student.grad is not None
            assert student.grad.isfinite().all()


@pytest.mark.parametrize(
    ("student", "teacher", "k", "bandwidth", "message"),
    [
        ((5, 2), (5, 2), 5, 1.0, "is 5 of 5"),
        ((5, 2), (5, 2), 0, 1.0, "at least 1 but is 0"),
        ((5, 2), (6, 2), 1, 1.0, r"one row per sample but have shapes \(5, 2\) and \(6, 2\)"),
        ((5, 2, 2), (5, 2), 1, 1.0, r"\(5, 2, 2\)"),
        ((5, 2), (5, 2, 2), 1, 1.0, r"\(5, 2, 2\)"),
        ((5, 2), (5, 2), 1, 0.0, "bandwidth must be above 0 but is 0"),
        ((5, 2), (5, 2), 1, float("nan"), "bandwidth must be above 0 but is nan"),
    ],
)
def test_function_refuses_what_it_cannot_measure(
    student: tuple[int, ...], teacher: tuple[int, ...], k: int, bandwidth: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        lp_loss(torch.zeros(student), torch.zeros(teacher), n_neighbors=k, bandwidth=bandwidth)


def term(method: LP, student: Tensor, teacher: Tensor, *, progress: float = 0.9) -> float:
    labels = torch.arange(len(student)) % 3
    step = step_of(method, progress)
    return float(method.loss(outputs(student), outputs(teacher), labels, step, None).parts["lp"])


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
    loss = method.loss(outputs(normal(9, 4)), outputs(normal(9, 4, seed=1)), torch.arange(9) % 3, step, None)
    assert float(loss.total) == pytest.approx(float(loss.parts["ce"] + weight * loss.parts["lp"]), rel=1e-12)


def test_lp_kd_is_the_sum_of_both() -> None:
    student, teacher, labels = outputs(normal(9, 4)), outputs(normal(9, 4, seed=1)), torch.arange(9) % 3
    method = LPKD(gamma=0.2, weight=0.7, temperature=2.0)
    loss = method.loss(student, teacher, labels, step_of(method), None)
    ce, lp, kd = (float(loss.parts[name]) for name in ("ce", "lp", "kd"))
    assert float(loss.total) == pytest.approx(ce + 0.2 * lp + 0.7 * kd, rel=1e-12)
    assert lp == float(LP().loss(student, teacher, labels, step_of(LP()), None).parts["lp"])


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
    lp = method.loss(student, teacher, torch.arange(10) % 3, step_of(method), None).parts["lp"]
    assert float(lp) == pytest.approx(term(LP(), maps, hint), rel=1e-12)


def test_layers_are_asked_for_and_checked(student: Network, teacher: Network) -> None:
    assert LP().student_maps(student) == frozenset()
    assert LP().teacher_needs(teacher).embedding
    assert not LP().teacher_needs(teacher).logits
    assert LPKD().teacher_needs(teacher).logits
    assert LP(layer="conv3").student_maps(student) == {"conv3"}
    needs = LP(teacher_layer="conv1").teacher_needs(teacher)
    assert (needs.embedding, needs.maps) == (False, {"conv1"})
    with pytest.raises(
        ValueError, match=r"the student has no layer 'pool'; it has embedding, conv1, conv2, conv3"
    ):
        LP(layer="pool").student_maps(student)
    with pytest.raises(ValueError, match="the teacher has no layer 'pool'"):
        LP(teacher_layer="pool").teacher_needs(teacher)
    with pytest.raises(ValueError, match=r"no map 'conv1', only \[\]"):
        LP(layer="conv1").loss(
            outputs(normal(4, 4)), outputs(normal(4, 4)), torch.arange(4) % 3, step_of(LP()), None
        )


@pytest.mark.parametrize(
    "method", [LP(n_neighbors=3), LP(n_neighbors=3, normalize=True), LPKD(n_neighbors=3)]
)
def test_workers_share_one_graph_over_the_whole_batch(method: LP | LPKD) -> None:
    student, teacher, labels = normal(12, 4, seed=1), normal(12, 6, seed=2), torch.arange(12) % 3
    whole = method.loss(outputs(student), outputs(teacher), labels, step_of(method), None).parts["lp"]

    def gather(rows: Tensor) -> Tensor:
        # What a collective would bring: the rows of all workers, in their order.
        return student if rows.shape[1] == student.shape[1] else teacher

    step = Step(method.weights(0.9), gather, 3)
    for own in (slice(0, 6), slice(6, 12)):
        part = method.loss(outputs(student[own]), outputs(teacher[own]), labels[own], step, None).parts["lp"]
        assert torch.equal(part, whole)


def test_teacher_features_are_gathered_without_a_gradient() -> None:
    # A collective with a gradient would be run backwards as well, for nothing.
    student, teacher = normal(6, 4, seed=1).requires_grad_(), normal(6, 5, seed=2).requires_grad_()
    gathered: dict[int, bool] = {}

    def gather(rows: Tensor) -> Tensor:
        gathered[rows.shape[1]] = rows.requires_grad
        return rows

    LP().loss(
        outputs(student), outputs(teacher), torch.arange(6) % 3, Step(LP().weights(0.9), gather, 3), None
    )
    assert gathered == {4: True, 5: False}


def test_start_gives_the_gradient_ratio_of_the_full_gamma() -> None:
    embedding, teacher = normal(10, 3, seed=1).requires_grad_(), normal(10, 5, seed=2)
    head = normal(3, 3, seed=3)
    labels = torch.arange(10) % 3
    method = LP(gamma=0.4, n_neighbors=3, ramp=0.5)
    step = step_of(method, 0.0)
    metrics = method.start(Outputs(embedding @ head, embedding), outputs(teacher), labels, step)
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
    metrics = LP().diagnose(outputs(normal(12, 4)), outputs(normal(12, 6, seed=1)), torch.arange(12) % 3, 3)
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


def test_laplacian_of_another_precision_is_taken_to_the_students() -> None:
    lap = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    loss = laplacian_loss(torch.tensor([[0.0], [2.0]]), lap)
    assert loss.dtype == torch.float32
    assert loss == 2
