"""The examples of docs/extending.md, and the page itself."""

import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from imports import no_imported_code

from lpstudy.command.prepare import PreparedStudy, prepare
from lpstudy.cost import cost
from lpstudy.distill import METHODS
from lpstudy.space.ranges import corners
from lpstudy.teacher import OnlineTeacher, untrained_teacher
from lpstudy.testing import check_method
from lpstudy.training import train

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CODE = [EXAMPLES / f"my_{kind}.py" for kind in ("data", "network", "method")]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared() -> Iterator[PreparedStudy]:
    flags = {"trials": None, "epochs": None, "seeds": None, "data_root": None, "imports": CODE}
    with no_imported_code():
        yield prepare(Namespace(study=str(EXAMPLES / "my_study.toml"), **flags))


def test_the_page_shows_the_files_as_they_are() -> None:
    text = (EXAMPLES.parent / "docs/extending.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in CODE)
    blocks = [
        block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "check_method" not in block
    ]
    assert len(blocks) == 3
    for block in blocks:
        assert all(part.strip("\n") in sources for part in block.split("    ...\n")), block


def test_the_method_passes_the_checks_of_every_method(prepared: PreparedStudy) -> None:
    check_method(METHODS["at"])


def test_every_arm_of_the_study_trains(prepared: PreparedStudy) -> None:
    data, spec = prepared.data, prepared.spec
    network = untrained_teacher(spec.teacher, data)
    teacher = OnlineTeacher(network, cost(network, data.input_shape).macs)
    assert [arm.name for arm in spec.arms()] == ["bp-separable-w8", "at-separable-w8"]
    for arm in spec.arms():
        run = arm.resolve(next(corners(arm.searched)), epochs=2, seed=0)
        first, last = train(run, data, teacher, device=CPU)
        assert last.metrics["train_ce"] < first.metrics["train_ce"]
        assert ("train_at" in last.metrics) == (arm.method == "at")


def test_the_study_names_its_code(prepared: PreparedStudy) -> None:
    files = prepared.spec.imported or ()
    assert [file.name for file in files] == [path.name for path in CODE]
    assert [code.sha256 for code in prepared.imported] == [file.sha256 for file in files]
    assert [output.name for output in prepared.plan.banked_outputs] == ["map.conv2", "map.conv1"]
