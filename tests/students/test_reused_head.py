"""Students that end in the teacher's classifier: what they compute, what they cost, what their file holds."""

from pathlib import Path

import pytest
import torch
from heads import student_for
from torch.nn import functional

import lpstudy
from lpstudy.cost import cost, cost_of
from lpstudy.data import DataSpec, load
from lpstudy.methods.simkd import SimKD
from lpstudy.outputs import PROJECTED
from lpstudy.space import RunSpec, StudySpec, Training
from lpstudy.students import HeadShape, ReusedHead, ReusedHeadNetwork, StudentSpec, build, skeleton
from lpstudy.teacher import OnlineTeacher
from lpstudy.training import train
from lpstudy.training.trainer import Trainer

CPU = torch.device("cpu")
SHAPE = (3, 16, 16)
TEACHER = StudentSpec(family="wrn", depth=10, width=1)
STUDENT = StudentSpec(family="convnet", depth=3, width=4)


def with_head(student: StudentSpec, teacher: StudentSpec) -> StudentSpec:
    return student_for("simkd", student, teacher)


def test_is_the_student_then_the_projector_then_the_classifier_of_the_average() -> None:
    spec = with_head(STUDENT, TEACHER)
    network = build(spec, input_shape=SHAPE, classes=5, seed=3).eval()
    own = build(STUDENT, input_shape=SHAPE, classes=5, seed=3).eval()
    images = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    state = network.state_dict()
    values = own(images, ("conv3",)).maps["conv3"]
    for position, padding in ((0, 0), (3, 1), (6, 0)):
        values = functional.conv2d(values, state[f"projector.{position}.weight"], padding=padding)
        values = torch.relu(values / (1 + 1e-5) ** 0.5)  # statistics of 0 and 1
    logits = values.mean(dim=(2, 3)) @ state["classifier.weight"].T + state["classifier.bias"]
    outputs = network(images, ("conv1", PROJECTED))
    torch.testing.assert_close(outputs.logits, logits)
    torch.testing.assert_close(outputs.maps[PROJECTED], values)
    torch.testing.assert_close(outputs.maps["conv1"], own(images, ("conv1",)).maps["conv1"])


def test_parameters_and_macs_are_those_of_the_layers() -> None:
    spec = with_head(STUDENT, TEACHER)
    size, own = (cost_of(one, input_shape=SHAPE, classes=5) for one in (spec, STUDENT))
    # Maps of 16 channels and 4 x 4 places to 32, 32 and 64; three batch norms; 64 features to 5 logits. The
    # student's own classifier, 16 features to 5 logits, is not there.
    convolutions = 16 * 32 + 9 * 32 * 32 + 32 * 64
    assert size.parameters - own.parameters == convolutions + 2 * (32 + 32 + 64) + (64 * 5 + 5) - (16 * 5 + 5)
    assert size.macs - own.macs == 16 * convolutions + 64 * 5 - 16 * 5
    network = build(spec, input_shape=SHAPE, classes=5)
    assert cost(network, SHAPE) == size


@pytest.mark.parametrize(
    ("student", "teacher", "image_size", "projected"),
    [
        (STUDENT, TEACHER, None, (64, 4, 4)),
        (STUDENT, TEACHER, 8, (64, 2, 2)),  # the student's map is averaged down to the teacher's
        (STUDENT, TEACHER, 32, (64, 4, 4)),
        (STUDENT, StudentSpec(family="maxout", design="fitnet1"), None, (500, 1, 1)),
        (StudentSpec(family="maxout", design="fitnet1"), TEACHER, None, (64, 1, 1)),
        (StudentSpec(family="torchvision", design="shufflenet_v2_x0_5"), TEACHER, 32, (64, 1, 1)),
    ],
)
def test_the_projected_map_has_the_teachers_channels_and_the_smaller_size(
    student: StudentSpec, teacher: StudentSpec, image_size: int | None, projected: tuple[int, int, int]
) -> None:
    sizes = teacher.model_dump(include={"family", "design", "depth", "width"})
    spec = student.model_copy(update={"head": ReusedHead(**sizes, image_size=image_size)})
    network = build(spec, input_shape=SHAPE, classes=5).eval()
    assert tuple(network(torch.zeros(2, *SHAPE), (PROJECTED,)).maps[PROJECTED].shape[1:]) == projected


def test_training_keeps_the_teachers_classifier_and_changes_all_else() -> None:
    data = load(DataSpec(kind="digits", labels_per_class=10))
    shape = {"input_shape": data.input_shape, "classes": data.classes}
    teacher = OnlineTeacher(build(TEACHER, **shape, seed=9), 1)
    trial = RunSpec(
        student=with_head(STUDENT, TEACHER),
        method=SimKD(),
        training=Training(batch_size=50, precision="fp32", weight_decay=0.1),
        epochs=1,
        seed=0,
    )
    run = Trainer(trial, data, teacher, CPU)
    before = {name: value.clone() for name, value in run.learner.student.state_dict().items()}
    run.steps(1)
    after = run.learner.student.state_dict()
    same = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert same == {"classifier.weight", "classifier.bias"}
    assert teacher.classifier is not None
    assert torch.equal(after["classifier.weight"], teacher.classifier.weight)
    with pytest.raises(ValueError, match="simkd needs a student that ends in the teacher's classifier"):
        Trainer(trial.model_copy(update={"student": STUDENT}), data, teacher, CPU)


def test_the_written_model_is_loaded_with_its_logits_parameters_and_macs(tmp_path: Path) -> None:
    data = load(DataSpec(kind="digits", labels_per_class=10))
    teacher_network = build(TEACHER, input_shape=data.input_shape, classes=data.classes, seed=9)
    trial = RunSpec(
        student=with_head(STUDENT, TEACHER),
        method=SimKD(),
        training=Training(batch_size=50, precision="fp32"),
        epochs=2,
        seed=0,
    )
    last = list(train(trial, data, OnlineTeacher(teacher_network, 1), device=CPU, folder=tmp_path))[-1]
    model = lpstudy.load_model(tmp_path)
    (batch,) = data.validation.batches(batch_size=len(data.validation), device=CPU)
    logits = model.network(batch.images).logits
    share = 100 * (logits.argmax(1) == batch.labels).double().mean().item()
    assert share == pytest.approx(last.metrics["validation_accuracy"])
    assert isinstance(model.network, ReusedHeadNetwork)
    torch.testing.assert_close(
        logits,
        functional.linear(model.network(batch.images).embedding, *teacher_network.classifier.parameters()),
    )
    stated = cost_of(trial.student, input_shape=data.input_shape, classes=data.classes)
    assert cost(model.network, data.input_shape) == stated
    assert sum(value.numel() for value in model.network.parameters()) == stated.parameters


def test_starting_weights_are_those_of_the_student_with_its_own_classifier(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "student.safetensors"
    own = build(STUDENT, input_shape=SHAPE, classes=5, seed=8)
    save_file(own.state_dict(), path)
    spec = with_head(STUDENT.model_copy(update={"weights": str(path)}), TEACHER)
    network = build(spec, input_shape=SHAPE, classes=5)
    assert torch.equal(network.state_dict()["network.layers.conv1.0.weight"], own.layers.conv1[0].weight)


def test_an_arm_of_simkd_alone_has_students_with_the_teachers_classifier() -> None:
    network = {"family": "convnet", "depth": 2, "width": 4}
    study = StudySpec.model_validate(
        {
            "name": "s",
            "data": {"kind": "digits"},
            "teacher": {"family": "convnet", "depth": 2, "width": 8},
            "students": [{"family": "convnet", "depth": 2, "width": {"choices": [2, 4]}}, network],
            "methods": {"bp": {}, "simkd": {}},
        }
    )
    size = {"input_shape": (1, 8, 8), "classes": 10}
    head = HeadShape(features=16, rows=4, columns=4, has_bias=True)
    for arm in study.arms():
        spec = arm.student_spec({"width": 2})
        assert (spec.head is not None) == (arm.method == "simkd")
        built = skeleton(spec, **size)
        assert getattr(built, "teacher", None) == (head if arm.method == "simkd" else None)
        assert arm.resolve({"width": 2}, epochs=1, seed=0).student == spec
