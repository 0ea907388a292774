"""Generated images and small networks: these tests need a GPU, torch, NumPy, pydantic and pytest alone."""

from collections.abc import Callable

import pytest
import torch
from heads import student_for

from lpstudy.data import Data
from lpstudy.data.pixels import ArrayPixels
from lpstudy.data.preprocessing import Preprocessing
from lpstudy.data.split import Split
from lpstudy.methods import METHODS
from lpstudy.space import RunSpec
from lpstudy.students import StudentSpec, build
from lpstudy.teacher import OnlineTeacher

MakeTrial = Callable[..., RunSpec]
TEACHER = StudentSpec(family="convnet", depth=2, width=8)
SHAPE = (3, 8, 8)


@pytest.fixture
def device() -> torch.device:
    """The GPU; a test that needs it is skipped where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture(autouse=True)
def _one_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same kernels for both sides, in float32 proper: Adam makes much of little."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="session")
def data() -> Data:
    """100 images to train on: two steps of 50."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (160, *SHAPE), dtype=torch.uint8, generator=generator)
    labels, rows = torch.arange(160) % 10, torch.arange(160)
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    plain, views = Preprocessing(mean, std), Preprocessing(mean, std, 1, True, 0)

    def part(first: int, last: int, preprocessing: Preprocessing) -> Split:
        return Split(ArrayPixels(pixels, rows[first:last]), labels[first:last], preprocessing)

    return Data(
        name="generated",
        class_names=tuple("0123456789"),
        input_shape=SHAPE,
        train=part(0, 100, views),
        validation=part(100, 130, plain),
        test=part(130, 160, plain),
        mean=mean,
        std=std,
        fingerprint="generated",
        pad=1,
        flip=True,
    )


@pytest.fixture
def teacher() -> OnlineTeacher:
    """A network that was not trained: what it computes does not matter here."""
    return OnlineTeacher(build(TEACHER, input_shape=SHAPE, classes=10, seed=9), 1)


@pytest.fixture
def make_trial() -> MakeTrial:
    def make(method: str = "bp", *, epochs: int = 4, **values: object) -> RunSpec:
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
                "seed": 0,
            }
        )

    return make
