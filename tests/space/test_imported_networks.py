"""Networks, data sets and runs of imported code."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_imported_code import METHOD, NETWORK, ROOT, clean, forget, spec_table, write  # noqa: F401

from lpstudy.data import load
from lpstudy.data.registry import LOADERS
from lpstudy.space import import_files, parse, parse_stored
from lpstudy.students import StudentSpec, build, code_of
from lpstudy.study.run_job import StudyContext

DATA = """
import numpy as np
from lpstudy.data import arrays_with_test_part, register

def read_shapes(root):
    images = np.arange(300 * 144, dtype=np.uint32).astype(np.uint8).reshape(300, 1, 12, 12)
    return arrays_with_test_part(images, np.arange(300) % 2, ("disc", "ring"))

register("shapes", read_shapes)
"""


def test_a_network_of_ones_own_is_built_and_its_code_is_known(tmp_path: Path) -> None:
    (code,) = import_files([write(tmp_path, NETWORK)])
    spec = StudentSpec(family="thin", width=3)
    assert spec.label() == "thin-w3"
    assert code_of("thin", None) == code.sha256
    assert code_of("wrn", None) == ""
    network = build(spec, input_shape=(1, 8, 8), classes=10)
    assert network(torch.zeros(2, 1, 8, 8)).logits.shape == (2, 10)
    with pytest.raises(ValueError, match="family thin needs a width"):
        build(StudentSpec(family="thin"), input_shape=(1, 8, 8), classes=10)


def test_data_of_ones_own_are_loaded_and_named_where_their_code_is_not(tmp_path: Path) -> None:
    (code,) = import_files([write(tmp_path, DATA)])
    table = spec_table(data={"kind": "shapes"}, imported=[code.load().model_dump()])
    data = load(parse(table, "study").data, root=tmp_path)
    assert (data.classes, data.input_shape, len(data.test)) == (2, (1, 12, 12), 100)
    LOADERS.clear()
    stored = parse_stored(table, "ledger")
    with pytest.raises(ValueError, match="the code of data set 'shapes' is not imported: give --import FILE"):
        load(stored.data, root=tmp_path)


def test_the_context_of_a_study_runs_the_code_before_it_is_read(tmp_path: Path) -> None:
    text = METHOD.replace("factor", "factor_of_a_worker") + NETWORK
    script = """
import sys
from lpstudy.study.run_job import StudyContext
context = StudyContext.model_validate_json(sys.stdin.read())
from lpstudy.methods import METHODS
print(context.teacher.network.label(), sorted(METHODS["plain"].model_fields))
"""
    (code,) = import_files([write(tmp_path, text)])
    names = ("key", "sha256", "label", "folder")
    numbers = ("validation_accuracy", "test_accuracy", "parameters", "macs", "training_macs", "seed")
    plan = {"views": 1, "augmentations": 1, "samples": 1, "dtype": "fp16", "banked_outputs": [], "online": []}
    context = StudyContext.model_validate(
        {
            "imported": [code.model_dump()],
            "data": {"kind": "digits"},
            "data_root": None,
            "teacher": {"family": "thin", "width": 2},
            "teacher_file": dict.fromkeys(names, "x") | dict.fromkeys(numbers, 1),
            "plan": plan | {"reason": ""},
            "gpus": 0.0,
            "workers": 1,
        }
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=context.model_dump_json(),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.startswith("thin-w2 ")
    assert "'factor_of_a_worker'" in done.stdout
