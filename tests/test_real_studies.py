"""Small studies on real images: MNIST, CIFAR-10 as a folder, streamed photographs."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.realdata

STUDY = """
[data]
{data}

[teacher]
{teacher}
epochs = 1
batch_size = 50

[[students]]
{student}

[methods.bp]

[methods.lp]
gamma = {{ low = 1e-4, high = 1e-2, log = true }}
n_neighbors = 2

[training]
batch_size = 50
learning_rate = 5e-3

[budget]
trials = 1
epochs = 1
seeds = 2
"""
CONVNET = 'family = "convnet"\ndepth = {}\nwidth = {}'
RESNET = 'family = "torchvision"\ndesign = "resnet18"'

CASES = {
    "mnist": (
        'kind = "mnist"\nlabels_per_class = 20\nvalidation_fraction = 0.02\npad = 2',
        CONVNET.format(3, 8),
        CONVNET.format(2, 4),
        ".",
    ),
    "cifar10": (
        'kind = "image_folder"\nlabels_per_class = 20\nvalidation_fraction = 0.02\npad = 4\nflip = true',
        CONVNET.format(4, 8),
        CONVNET.format(3, 4),
        "cifar10",
    ),
    "tiny_imagenet25": (
        'kind = "imagenet"\nimage_size = 32\nlabels_per_class = 4\nvalidation_fraction = 0.02\npad = 4\n'
        "flip = true",
        RESNET,
        RESNET,
        "tiny_imagenet25",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_study_on_real_images_ends_with_its_comparison(name: str, real_data: Path, tmp_path: Path) -> None:
    data, teacher, student, below = CASES[name]
    file = tmp_path / f"{name}.toml"
    file.write_text(STUDY.format(data=data, teacher=teacher, student=student))
    command = [sys.executable, "-m", "lpstudy.sweep", file.name, "--data-root", str(real_data / below)]
    command += [] if name == "mnist" else ["--in-process"]
    environment = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}

    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
    )

    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "reports" / name / "comparison.csv")
    assert list(table["method"]) == ["teacher", "bp", "lp"]
    assert list(table["seeds"]) == [1, 2, 2]
    assert table["accuracy_mean"].between(0.0, 100.0).all()
    assert (tmp_path / "reports" / name / "figures" / "accuracy_over_macs.png").stat().st_size > 0
