"""The tables of students in a study file: sizes, reused classifiers, methods of their own."""

import pytest

from lpstudy.space import StudentSpace, StudentSpec, TeacherSpec, parse


@pytest.mark.parametrize(
    ("table", "sizes"),
    [
        ({"family": "resnet", "depth": {"low": 8, "high": 20, "step": 6}, "width": 1}, 3),
        ({"family": "resnet", "depth": {"choices": [8, 14]}, "width": {"choices": [1, 2, 4]}}, 6),
        (
            {
                "family": "vgg",
                "depth": {"choices": [8, 11, 13]},
                "width": {"low": 16, "high": 64, "step": 16},
            },
            12,
        ),
        ({"family": "mobilenetv2", "width": {"low": 25, "high": 100, "step": 25}}, 4),
        ({"family": "shufflenetv1", "width": {"low": 25, "high": 100, "step": 25}}, 4),
        ({"family": "shufflenetv2", "width": {"choices": [50, 100, 150, 200]}}, 4),
    ],
)
def test_sizes_of_the_literature_s_networks_are_searched(table: dict[str, object], sizes: int) -> None:
    space = StudentSpace.model_validate(table)

    specs = {StudentSpec.model_validate(space.fixed | size).label() for size in space.sizes()}

    assert len(specs) == sizes


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"family": "resnet", "depth": {"low": 8, "high": 20, "step": 3}, "width": 1}, "6n \\+ 2 .* got 11"),
        ({"family": "vgg", "depth": {"low": 8, "high": 13}, "width": 64}, "8, 11, 13, 16 or 19 but got 9"),
        ({"family": "shufflenetv2", "width": {"choices": [50, 75]}}, "50, 100, 150, 200"),
        ({"family": "mobilenetv2", "width": 50, "depth": {"choices": [1, 2]}}, "mobilenetv2 has no depth"),
    ],
)
def test_sizes_that_they_have_not_are_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StudentSpace.model_validate(table)


def test_a_student_that_ends_in_the_teacher_s_classifier_knows_its_whole_network() -> None:
    teacher = TeacherSpec(family="torchvision", design="resnet18", stem="small", weights="w", image_size=48)

    assert teacher.head.network == teacher.network
    assert teacher.network.label() == "resnet18-small-stem"
    assert teacher.head.input_shape((3, 32, 32)) == (3, 48, 48)


def test_a_setting_that_changes_nothing_is_not_among_the_fixed_ones() -> None:
    def fixed(**training: object) -> set[str]:
        table = {
            "name": "small",
            "data": {"kind": "digits"},
            "teacher": {"family": "convnet", "depth": 2, "width": 8},
            "students": [{"family": "convnet", "depth": 2, "width": 4}],
            "methods": {"bp": {}},
            "training": training,
        }
        return {*parse(table, "here").arms()[0].fixed}

    optional = {"nesterov", "milestones", "warmup_epochs", "label_smoothing", "ema"}
    assert fixed() & optional == set()
    assert fixed(optimizer="sgd", schedule="step") & optional == {"nesterov", "milestones"}
    assert fixed(optimizer={"choices": ["adam", "sgd"]}, ema=0.9) & optional == {"nesterov", "ema"}


def test_a_student_may_have_some_of_the_methods() -> None:
    table = {
        "name": "small",
        "data": {"kind": "digits"},
        "teacher": {"family": "convnet", "depth": 2, "width": 8},
        "students": [
            {"family": "convnet", "depth": 2, "width": 4},
            {"family": "convnet", "depth": 2, "width": {"low": 2, "high": 6}, "methods": ["kd"]},
        ],
        "methods": {"bp": {}, "kd": {}},
    }
    spec = parse(table, "here")
    assert [arm.name for arm in spec.arms()] == ["bp-convnet-d2-w4", "kd-convnet-d2-w4", "kd-convnet"]
    assert parse(spec.model_dump(mode="json", exclude_none=True), "stored") == spec
    table["students"][1]["methods"] = ["kd", "crd_"]
    with pytest.raises(ValueError, match=r"students.1.methods: must be of bp, kd but got 'crd_'"):
        parse(table, "here")
