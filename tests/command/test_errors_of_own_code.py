"""An error of imported code says its file and line, before anything starts where it can be known."""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from imports import no_imported_code

from lpstudy.command.prepare import PreparedStudy, prepare
from lpstudy.study.run_end import describe_death
from lpstudy.teacher import OnlineTeacher, untrained_teacher
from lpstudy.training import train
from lpstudy.user_lines import UserCodeError

OWN = """
from typing import Literal
import torch
from lpstudy.methods import Distillation, Loss, Needs, cross_entropy, reduced
from lpstudy.outputs import Outputs

CALLS = []

class Mine(Distillation):
    \"\"\"CE + a term.\"\"\"
    method: Literal["mine"] = "mine"

    def teacher_needs(self):
        return Needs(embedding=True, maps=("conv1", reduced("conv2", "attention")), classifier=True)

    def student_maps(self):
        return ("conv1",)

    def loss(self, step):
        maps = [*step.student.maps.values(), *step.teacher.maps.values()]
        assert [tuple(value.shape[1:]) for value in maps] == [(3, 8, 8), (4, 8, 8), (4, 4)]
        assert step.teacher_classifier(step.teacher.embedding).shape == (8, 10)
        loss = cross_entropy(step)
        LINE
        return loss
"""
STUDY = """
[data]
kind = "digits"
[teacher]
family = "convnet"
depth = 2
width = 4
[[students]]
family = "convnet"
depth = 2
width = 3
[methods.x]
method = "own:Mine"
[training]
batch_size = 8
[budget]
epochs = 1
"""


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with no_imported_code():
        yield


def prepared(folder: Path, line: str) -> PreparedStudy:
    (folder / "own.py").write_text(OWN.replace("LINE", line))
    (folder / "s.toml").write_text(STUDY)
    flags = {"trials": None, "epochs": None, "seeds": None, "data_root": None}
    return prepare(Namespace(study=str(folder / "s.toml"), imports=[folder / "own.py"], **flags))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("step.student.logits.nothing", r"own\.py:24: AttributeError: .* no attribute 'nothing'"),
        ("loss = loss.plus('a', torch.ones(2) @ torch.ones(3), weight=1)", r"own\.py:24: RuntimeError: "),
        ("loss = torch.zeros(())", r"loss: must return a Loss, as .* does, not Tensor"),
        ("loss = Loss(step.student.logits, {})", r"loss: must have 0 dimensions but has shape \(8, 10\)"),
        ("loss = Loss(step.labels.sum(), {})", "loss: has no gradient for the student"),
    ],
)
def test_a_wrong_loss_is_refused_before_anything_starts(tmp_path: Path, line: str, words: str) -> None:
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=rf"\Amethods\.x: {words}") as caught:
        prepared(tmp_path, line)
    assert "\n" not in str(caught.value)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_later_error_has_the_line_too_and_its_cause(tmp_path: Path) -> None:
    study = prepared(tmp_path, "CALLS.append(0); {0: 0}[len(CALLS) // 20]")
    network = untrained_teacher(study.spec.teacher, study.data)
    (arm,) = study.spec.arms()
    run = arm.resolve({}, epochs=1, seed=0)
    with pytest.raises(UserCodeError, match=r"\Aown\.py:24: KeyError: 1\Z") as caught:
        list(train(run, study.data, OnlineTeacher(network, 1), device=torch.device("cpu")))
    assert isinstance(caught.value.__cause__, KeyError)


def test_the_cause_of_a_run_begins_with_the_line() -> None:
    assert (
        describe_death("lpstudy.user_lines.UserCodeError: own.py:3: KeyError: 0") == "own.py:3: KeyError: 0"
    )
    assert describe_death("KeyError: 0") == "KeyError: 0"
