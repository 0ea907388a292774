from collections.abc import Callable
from pathlib import Path

import pytest

from lpstudy.space import StudySpec, read_study_file

STUDY = """\
name = "mine"

[data]
kind = "digits"
pad = 1

[teacher]
family = "convnet"
depth = 4
width = 32

[[students]]
family = "convnet"
depth = 2
width = 8

[[students]]
family = "wrn"
depth = { low = 10, high = 22, step = 6 }
width = { choices = [1, 2] }

[methods.bp]

[methods.kd]
temperature = { low = 1, high = 6 }

[methods.lp]
n_neighbors = { low = 1, high = 5 }
gamma = 0.02

[training]
batch_size = 50
learning_rate = { low = 2e-3, high = 2e-2, log = true }

[budget]
trials = 8
epochs = 30

[constraints]
max_macs = 1000000
"""


@pytest.fixture
def study_text() -> str:
    return STUDY


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def changed(study_file: Path) -> Callable[..., StudySpec]:
    """Read the study file with some of its text replaced."""

    def change(*pairs: tuple[str, str]) -> StudySpec:
        text = STUDY
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new, 1)
        study_file.write_text(text)
        return read_study_file(study_file)

    return change
