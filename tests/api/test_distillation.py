"""`lpstudy.methods`: a student of one's own learns from a teacher of one's own."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import lpstudy
from lpstudy.data import DataSpec, load
from lpstudy.students.families import FAMILIES

TRAINING = lpstudy.Training(batch_size=50, learning_rate=0.02, precision="fp32")


def net(width: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 10),
    )


Part = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def parts() -> dict[str, Part]:
    """Images and labels of the digits' parts."""
    data = load(DataSpec(kind="digits", validation_fraction=0.25))
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {
        name: (next(iter(split.pixels.read([torch.arange(len(split))]))), split.labels)
        for name, split in splits.items()
    }


@pytest.fixture(scope="module")
def teacher(parts: dict[str, Part]) -> nn.Module:
    """A trained teacher."""
    network = net(16)
    run = lpstudy.distill(
        network,
        None,
        parts["train"],
        parts["validation"],
        method=lpstudy.BP(),
        epochs=6,
        training=TRAINING,
        progress=False,
    )
    assert [result.epoch for result in run] == [1, 2, 3, 4, 5, 6]
    return network


def accuracy(network: nn.Module, parts: dict[str, Part], part: str) -> float:
    """Percent correct, with the training images' statistics, in float64."""
    train = parts["train"][0].double() / 255
    images, labels = parts[part]
    network = copy.deepcopy(network).double().eval()
    with torch.no_grad():
        logits = network((images.double() / 255 - train.mean()) / train.std(correction=0))
    return 100 * (logits.argmax(1) == labels).double().mean().item()


@pytest.mark.parametrize(
    "method",
    [
        lpstudy.KD(weight=1.0, temperature=4.0),
        lpstudy.LP(gamma=0.01),
        lpstudy.FitNet(mode="joint", kd_weight=1.0),
        lpstudy.CRD(),
    ],
    ids=lambda method: method.method,
)
def test_the_student_has_the_weights_of_each_result(
    method: lpstudy.Distillation, teacher: nn.Module, parts: dict[str, Part]
) -> None:
    student = net(4, seed=1)
    before = copy.deepcopy(teacher.state_dict())
    results = lpstudy.distill(
        student,
        teacher,
        parts["train"],
        parts["validation"],
        method=method,
        epochs=3,
        training=TRAINING,
        test=parts["test"],
        augmentation={"pad": 1},
        progress=False,
    )
    for result in results:
        assert result.metrics["validation_accuracy"] == pytest.approx(
            accuracy(student, parts, "validation"), abs=0.3
        )
    assert result.epoch == 3
    assert result.metrics["test_accuracy"] == pytest.approx(accuracy(student, parts, "test"), abs=0.3)
    assert result.metrics["validation_accuracy"] > 15
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    assert not [name for name in FAMILIES if name.startswith("student")]


def test_equal_calls_give_equal_results_and_an_average_is_stored(parts: dict[str, Part]) -> None:
    def weights(seed: int, ema: float) -> Tensor:
        student = net(4)
        settings = TRAINING.model_copy(update={"ema": ema})
        for _ in lpstudy.distill(
            student,
            None,
            parts["train"],
            parts["validation"],
            method=lpstudy.BP(),
            epochs=2,
            training=settings,
            seed=seed,
            progress=False,
        ):
            pass
        return student.state_dict()["0.weight"]

    assert torch.equal(weights(1, 0.0), weights(1, 0.0))
    assert not torch.equal(weights(1, 0.0), weights(2, 0.0))
    assert not torch.equal(weights(1, 0.0), weights(1, 0.9))


class Ones(Dataset[tuple[np.ndarray, int]]):
    """Images of one brightness for each of three classes."""

    classes = ("dark", "grey", "light")

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return np.full((8, 8, 1), 20 + 100 * (index % 3), dtype=np.uint8), index % 3


def test_a_data_set_of_torch_and_one_s_own_loss() -> None:
    class Shifted(lpstudy.Distillation):
        """CE and the squared distance of the embeddings' means."""

        method: str = "shifted"

        def teacher_needs(self) -> lpstudy.Needs:
            return lpstudy.Needs(embedding=True)

        def weights(self, progress: float) -> dict[str, float]:
            return {"shifted": 1.0}

        def loss(self, step: lpstudy.Step) -> lpstudy.Loss:
            term = (step.student.embedding.mean() - step.teacher.embedding.mean()).square()
            return lpstudy.cross_entropy(step).plus("shifted", term, weight=step.weights["shifted"])

    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))
    big = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))
    run = lpstudy.distill(
        student,
        big,
        Ones(),
        Ones(),
        method=Shifted(),
        epochs=20,
        training=lpstudy.Training(batch_size=10, precision="fp32"),
        progress=False,
    )
    *_, last = run
    assert last.metrics["validation_accuracy"] == 100
    assert last.metrics["train_shifted"] >= 0


Change = Callable[[dict[str, object]], object]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"teacher": None}, "method kd learns from a teacher: give one, or method=lpstudy.BP()"),
        ({"method": lpstudy.SimKD()}, "the student of simkd gets the teacher's classifier"),
        ({"train": "digits"}, r"train: must be \(images, labels\) or a torch Dataset but is str"),
        ({"student": nn.Flatten()}, "not the output of a linear layer"),
        ({"augmentation": {"padding": 4}}, "augmentation: padding"),
        ({"augmentation": {"pad": 9}}, "pad is 9, it must be below the image's side of 8 pixels"),
        ({"statistics": ((0.5,) * 3, (0.2,) * 3)}, "statistics: mean and std must have 1 values"),
        ({"device": "gpu9"}, "device: "),
        ({"class_names": ("a", "b")}, r"must lie in \[0, 2\)"),
        ({"method": lpstudy.AT(layers=("99",))}, "99"),
        (
            {"epochs": 1, "training": lpstudy.Training(schedule="step", milestones=(3.0,))},
            "milestones: must be below",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line_at_the_call(
    changes: dict[str, object], says: str, parts: dict[str, Part]
) -> None:
    options: dict[str, object] = {
        "student": net(2),
        "teacher": net(4),
        "train": parts["train"],
        "validation": parts["validation"],
        "method": lpstudy.KD(),
        "epochs": 2,
        "training": TRAINING,
        **changes,
    }
    with pytest.raises(ValueError, match=says) as caught:
        lpstudy.distill(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_teacher_of_a_study_sees_its_own_images(
    study_model: lpstudy.TrainedModel, parts: dict[str, Part]
) -> None:
    student = net(4)
    *_, last = lpstudy.distill(
        student,
        study_model,
        parts["train"],
        parts["validation"],
        method=lpstudy.KD(),
        epochs=1,
        training=TRAINING,
        statistics=((0.0,), (1.0,)),
        progress=False,
    )
    assert last.metrics["teacher_macs"] > 0


@pytest.fixture
def study_model(tmp_path: object) -> lpstudy.TrainedModel:
    """A network with the description that lpstudy writes."""
    from lpstudy.model_file import describe

    data = load(DataSpec(kind="digits", validation_fraction=0.25))
    spec = lpstudy.StudentSpec(family="convnet", depth=2, width=4)
    network = lpstudy.build(spec, input_shape=data.input_shape, classes=data.classes)
    return lpstudy.TrainedModel(network, describe(spec, data))
