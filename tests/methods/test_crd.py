import numpy as np
import pytest
import torch
from method_steps import step_on
from numpy.typing import NDArray
from torch import Tensor

from lpstudy.methods import Step, StepContext, TrainingSamples
from lpstudy.methods.crd import CRD, Contrast
from lpstudy.methods.negatives import Negatives
from lpstudy.outputs import NO_LABEL, Outputs

N, CLASSES, WIDTH, TEACHER_WIDTH, SIZE = 40, 4, 5, 7, 6
LABELS = torch.arange(N) % CLASSES
SAMPLES = torch.tensor([3, 17, 8, 39, 0])


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = random(len(SAMPLES), WIDTH, seed=0), random(len(SAMPLES), TEACHER_WIDTH, seed=1)
METHOD = CRD(n_negatives=9, feature_dim=SIZE, nce_temperature=0.2, momentum=0.3)


def contrast(method: CRD = METHOD, labels: Tensor = LABELS) -> Contrast:
    torch.manual_seed(2)
    outputs = [Outputs(values[:2, :CLASSES], values[:2]) for values in (STUDENT, TEACHER)]
    module = method.auxiliary(*outputs, TrainingSamples(labels))
    assert isinstance(module, Contrast)
    return module.double()


def step(module: Contrast, student: Tensor = STUDENT) -> Step:
    logits = torch.zeros(len(SAMPLES), CLASSES, dtype=torch.float64)
    context = StepContext(METHOD.weights(0.0), lambda rows: rows, CLASSES)
    mine, theirs = Outputs(logits, student), Outputs(logits, TEACHER)
    return context.step(mine, theirs, LABELS[SAMPLES], SAMPLES, module)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))


def embedded(module: Contrast) -> list[NDArray[np.float64]]:
    """The embeddings of length 1 of student and teacher."""
    return [
        unit(values.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
        for layer, values in zip(module.embeddings, (STUDENT, TEACHER), strict=True)
    ]


def nce_by_definition(module: Contrast, z: tuple[float, float]) -> float:
    """The loss draw by draw, as the authors compute it, without their 1e-7."""
    draws = module.negatives.draws(SAMPLES, module.steps).numpy()
    k, total = draws.shape[1], 0.0
    for anchors, memory, constant in zip(embedded(module), module.memories.numpy()[::-1], z, strict=True):
        for row, sample in enumerate(SAMPLES.tolist()):
            p = np.exp(memory @ anchors[row] / METHOD.nce_temperature) / constant
            total -= np.log(p[sample] / (p[sample] + k / N))
            for draw in draws[row]:
                total -= np.log((k / N) / (p[draw] + k / N))
    return float(total / len(SAMPLES))


def test_equals_the_sum_over_draws_in_numpy() -> None:
    module = contrast()
    z = (31.0, 57.0)
    module.log_z.copy_(torch.log(torch.tensor(z, dtype=torch.float64)))
    actual = METHOD.loss(step(module)).parts["nce"]
    assert float(actual) == pytest.approx(nce_by_definition(module, z), rel=1e-12)


def test_the_first_batch_sets_z_to_n_times_the_mean_of_its_exponentials() -> None:
    module = contrast()
    assert METHOD.start(step(module)) == {}
    draws = module.negatives.draws(SAMPLES, module.steps).numpy()
    for anchors, memory, log_z in zip(
        embedded(module), module.memories.numpy()[::-1], module.log_z, strict=True
    ):
        of = np.concatenate([SAMPLES.numpy()[:, None], draws], axis=1)
        exponentials = np.exp((memory[of] * anchors[:, None]).sum(axis=2) / METHOD.nce_temperature)
        assert float(log_z.exp()) == pytest.approx(N * exponentials.mean(), rel=1e-12)


def test_an_update_moves_the_rows_of_the_batch_alone_and_the_loss_none() -> None:
    module = contrast()
    before = module.memories.numpy().copy()
    METHOD.loss(step(module))
    assert np.array_equal(module.memories.numpy(), before)
    assert int(module.steps) == 0
    METHOD.update(step(module))
    assert int(module.steps) == 1
    for old, new, anchors in zip(before, module.memories.numpy(), embedded(module), strict=True):
        expected = old.copy()
        expected[SAMPLES.numpy()] = unit(0.3 * old[SAMPLES.numpy()] + 0.7 * anchors)
        np.testing.assert_allclose(new, expected, rtol=1e-12)


def test_gradient_is_that_of_finite_differences_and_reaches_both_embeddings() -> None:
    module = contrast()
    values = STUDENT.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: METHOD.loss(step(module, x)).total, (values,))
    METHOD.loss(step(module, values)).total.backward()
    for parameter in module.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_every_negative_is_of_another_class_and_all_of_them_are_as_likely() -> None:
    negatives = Negatives(LABELS, 2000)
    negatives.drawn = 3000
    draws = negatives.draws(SAMPLES, torch.tensor(0))
    for sample, row in zip(SAMPLES.tolist(), draws, strict=True):
        counts = torch.bincount(row, minlength=N)
        others = LABELS[sample] != LABELS
        assert int(counts[~others].sum()) == 0
        # 30 others, 3000 draws: a count of 100 +- 10 each; the statistic has 29 degrees of freedom.
        assert float(((counts[others] - 100.0) ** 2 / 100).sum()) < 60


def test_samples_without_a_label_have_and_are_negatives() -> None:
    labels = torch.where(torch.arange(N) < 30, LABELS, torch.full_like(LABELS, NO_LABEL))
    negatives = Negatives(labels, 1)
    negatives.drawn = 2000
    with_label, without = negatives.draws(torch.tensor([0, 35]), torch.tensor(0))
    assert set(with_label.tolist()) == {n for n in range(N) if n >= 30 or n % CLASSES}
    assert set(without.tolist()) == set(range(N)) - {35}


def test_all_others_are_negatives_where_there_is_one_class() -> None:
    negatives = Negatives(torch.zeros(6, dtype=torch.int64), 100)
    assert negatives.drawn == 5
    seen = {int(draw) for t in range(20) for draw in negatives.draws(torch.tensor([2]), torch.tensor(t))[0]}
    assert seen == {0, 1, 3, 4, 5}


def test_draws_depend_on_seed_step_and_sample_alone() -> None:
    torch.manual_seed(0)
    one, other = Negatives(LABELS, 10), Negatives(LABELS, 10)
    first = one.draws(SAMPLES, torch.tensor(4))
    assert torch.equal(first, one.draws(SAMPLES, torch.tensor(4)))
    assert torch.equal(first[2:], one.draws(SAMPLES[2:], torch.tensor(4)))
    assert not torch.equal(first, one.draws(SAMPLES, torch.tensor(5)))
    assert not torch.equal(first, other.draws(SAMPLES, torch.tensor(4)))
    other.load_state_dict(one.state_dict())
    assert torch.equal(first, other.draws(SAMPLES, torch.tensor(4)))
    assert set(one.state_dict()) == {"seed"}


def test_more_negatives_than_there_are_are_lowered_and_that_is_said() -> None:
    for wanted, drawn in ((16384, 30), (30, 30), (12, 12)):
        method = CRD(n_negatives=wanted, feature_dim=SIZE)
        module = contrast(method)
        metrics = method.diagnose(step(module))
        assert metrics == {"negatives": drawn}
        lines = method.warnings(metrics, batch_size=5, classes=CLASSES)
        assert [line.split(":")[0] for line in lines] == (["fewer negatives"] if wanted > drawn else [])


def test_state_is_two_memories_and_parameters_are_two_linear_layers() -> None:
    method = CRD()
    outputs = [
        Outputs(torch.zeros(2, 3, device="meta"), torch.zeros(2, size, device="meta")) for size in (64, 256)
    ]
    module = method.auxiliary(*outputs, TrainingSamples(torch.arange(50_000) % 100))
    assert sum(p.numel() for p in module.parameters()) == (64 + 1) * 128 + (256 + 1) * 128
    assert module.state_dict()["memories"].shape == (2, 50_000, 128)
    assert module.state_dict()["memories"].is_meta


def test_without_a_module_the_loss_names_it() -> None:
    student = Outputs(torch.zeros(2, 3), STUDENT[:2])
    context = StepContext(METHOD.weights(0.0), lambda rows: rows, 3)
    with pytest.raises(ValueError, match="the loss needs its auxiliary module but there is none"):
        METHOD.loss(step_on(context, student, Outputs(torch.zeros(2, 3), TEACHER[:2]), torch.arange(2)))
