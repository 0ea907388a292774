import numpy as np
import pytest
import torch
from method_steps import step_on
from torch import Tensor

from lpstudy.methods import StepContext
from lpstudy.methods.srrl import SRRL, Connector
from lpstudy.outputs import Classifier, Outputs

CLASSES, WIDTH, TEACHER_WIDTH, SAMPLES = 5, 3, 7, 6


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = random(SAMPLES, WIDTH, seed=0), random(SAMPLES, TEACHER_WIDTH, seed=1)
LOGITS, WEIGHT, BIAS = (
    random(SAMPLES, CLASSES, seed=2),
    random(CLASSES, TEACHER_WIDTH, seed=3),
    random(5, seed=4),
)


def connector() -> Connector:
    torch.manual_seed(5)
    module = Connector(WIDTH, TEACHER_WIDTH).double()
    with torch.no_grad():
        module.norm.weight.copy_(random(TEACHER_WIDTH, seed=6))
        module.norm.bias.copy_(random(TEACHER_WIDTH, seed=7))
    return module


def terms(embedding: Tensor, module: Connector, classifier: Classifier) -> tuple[Tensor, Tensor]:
    method = SRRL(feature_weight=2.0, regression_weight=3.0)
    context = StepContext(method.weights(0.0), lambda rows: rows, CLASSES, classifier=classifier)
    student = Outputs(torch.zeros(SAMPLES, CLASSES, dtype=torch.float64), embedding)
    labels = torch.arange(SAMPLES) % CLASSES
    loss = method.loss(step_on(context, student, Outputs(LOGITS, TEACHER), labels, module))
    parts = loss.parts
    expected = parts["ce"] + 2 * parts["features"] + 3 * parts["regression"]
    assert float(loss.total.detach()) == pytest.approx(float(expected))
    return loss.total, torch.stack([parts["features"], parts["regression"]])


def test_equals_the_two_mean_squared_differences_in_numpy() -> None:
    module = connector()
    _, actual = terms(STUDENT, module, Classifier(WEIGHT, BIAS))
    projected = STUDENT.numpy() @ module.linear.weight.detach().numpy().T
    normal = (projected - projected.mean(0)) / np.sqrt(projected.var(0) + 1e-5)
    connected = np.maximum(
        normal * module.norm.weight.detach().numpy() + module.norm.bias.detach().numpy(), 0
    )
    logits = connected @ WEIGHT.numpy().T + BIAS.numpy()
    expected = [((connected - TEACHER.numpy()) ** 2).mean(), ((logits - LOGITS.numpy()) ** 2).mean()]
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12)


def test_gradient_is_that_of_finite_differences() -> None:
    module = connector()
    values = STUDENT.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: terms(x, module, Classifier(WEIGHT, None))[0], (values,))


def test_teacher_and_its_classifier_get_no_gradient_and_the_connector_does() -> None:
    module, weight = connector(), WEIGHT.clone().requires_grad_()
    terms(STUDENT.clone().requires_grad_(), module, Classifier(weight, BIAS))[0].backward()
    assert weight.grad is None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_without_the_classifier_the_loss_names_it() -> None:
    method = SRRL()
    context = StepContext(method.weights(0.0), lambda rows: rows, CLASSES)
    student = Outputs(torch.zeros(SAMPLES, CLASSES), STUDENT)
    step = step_on(context, student, Outputs(LOGITS, TEACHER), torch.arange(SAMPLES) % CLASSES, connector())
    with pytest.raises(ValueError, match="the loss needs the teacher's classifier but there is none"):
        method.loss(step)
