from collections.abc import Callable

import pytest
import torch
from heads import student_for

from lpstudy.cost import cost_of
from lpstudy.data import Data, DataSpec, load
from lpstudy.methods import METHODS
from lpstudy.space import RunSpec
from lpstudy.students import StudentSpec, build
from lpstudy.teacher import OnlineTeacher

MakeTrial = Callable[..., RunSpec]

TEACHER = StudentSpec(family="convnet", depth=2, width=8)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data() -> Data:
    """100 digits to train on: two steps of 50."""
    return load(DataSpec(kind="digits", labels_per_class=10, pad=1))


@pytest.fixture(scope="session")
def teacher(data: Data) -> OnlineTeacher:
    """A network that was not trained: what it computes does not matter here."""
    network = build(TEACHER, input_shape=data.input_shape, classes=data.classes, seed=9)
    return OnlineTeacher(network, cost_of(TEACHER, input_shape=data.input_shape, classes=data.classes).macs)


@pytest.fixture
def make_trial() -> MakeTrial:
    def make(method: str = "bp", *, epochs: int = 3, seed: int = 0, **values: object) -> RunSpec:
        """A small run in float32; values are those of the method and of the training, or `student`."""
        student = values.pop("student", {"family": "convnet", "depth": 2, "width": 4})
        if method == "lp_kd":
            method, values = "lp", {"kd_weight": 1.0} | values
        method_values = {key: values.pop(key) for key in list(values) if key in METHODS[method].model_fields}
        return RunSpec.model_validate(
            {
                "student": student_for(method, student, TEACHER),
                "method": METHODS[method].model_validate(method_values),
                "training": {"batch_size": 50, "checkpoint_seconds": 0.0, "precision": "fp32"} | values,
                "epochs": epochs,
                "seed": seed,
            }
        )

    return make
