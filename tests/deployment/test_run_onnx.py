"""The example of onnxruntime alone runs without torch and lpstudy, and names the classes that torch names."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deployments import Deployed, network, write_folder, write_images
from PIL import Image

import lpstudy
from lpstudy.data.digits import read_digits
from lpstudy.deployment.onnx_file import write_onnx
from lpstudy.students import StudentSpec

EXAMPLE = Path(__file__).parents[2] / "examples/run_onnx.py"
BLOCKED = ("torch", "torchvision", "lpstudy", "timm", "mlflow", "onnx", "pandas", "scipy")
PROGRAM = f"""
import runpy, sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Refuse())
assert not set({BLOCKED!r}) & {{name.partition(".")[0] for name in sys.modules}}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_example(folder: Path, paths: list[Path]) -> list[str]:
    """The labels that the example prints, in a process that cannot import torch or lpstudy."""
    words = [sys.executable, "-I", "-c", PROGRAM, str(EXAMPLE), str(folder), *map(str, paths)]
    process = subprocess.run(words, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    lines = [line.rpartition(" ") for line in process.stdout.splitlines()]
    assert [path for path, _, _ in lines] == [str(path) for path in paths]
    return [label for _, _, label in lines]


def test_the_block_is_a_true_one() -> None:
    for name in ("torch", "lpstudy"):
        program = PROGRAM.replace("runpy.run_path(sys.argv[0], run_name='__main__')", f"import {name}")
        program = program.replace('runpy.run_path(sys.argv[0], run_name="__main__")', f"import {name}")
        process = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True)
        assert f"blocked: {name}" in process.stderr


def test_has_the_accuracy_of_the_study_on_digits(deployed: Deployed, tmp_path: Path) -> None:
    arrays, paths = read_digits(), []
    for number, pixels in enumerate(arrays.test_images[:200]):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels[0]).save(paths[-1])
    expected = [one.label for one in lpstudy.load(deployed.folder).predict(paths)]
    assert run_example(deployed.folder, paths) == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize("resize", [None, 20])
def test_cuts_files_of_any_size_as_the_study_does(resize: int | None, tmp_path: Path) -> None:
    model = network(
        StudentSpec(family="convnet", depth=3, width=16),
        resizing="centre_square",
        **({"resize": resize} if resize else {}),
    )
    write_folder(tmp_path, model)
    write_onnx(model, model.description.input_shape, tmp_path / "model.onnx")
    paths = write_images(tmp_path, 60, "RGB")
    classifier = lpstudy.load(tmp_path)
    expected = [one.label for one in classifier.predict(paths)]
    labels = run_example(tmp_path, paths)
    same = np.mean([one == other for one, other in zip(labels, expected, strict=True)])
    # After `resize` the study cuts at whole pixels, the example at fractions.
    assert same == 1 if resize is None else same > 0.9
    assert len(set(expected)) > 1


def test_the_example_is_fifteen_lines() -> None:
    source = EXAMPLE.read_text().partition("from PIL")[2]
    assert len([line for line in source.splitlines()[1:] if line.strip()]) <= 15
