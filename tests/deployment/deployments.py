"""Networks, data and images of tests of deployment."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import CommandResult
from PIL import Image

from lpstudy.data import data_from_arrays
from lpstudy.data.arrays import Arrays
from lpstudy.data.dataset import Data
from lpstudy.data.spec import DataSpec
from lpstudy.deployment import latency
from lpstudy.deployment.config import Deployment, Origin, config_of
from lpstudy.deployment.package import write_weights
from lpstudy.model_file import ModelDescription, TrainedModel, describe
from lpstudy.students import StudentSpec, build

SHAPE = (3, 16, 16)
ORIGIN = Origin(study="s", run="kd/final-0-seed-1", arm_rule="a", seed=1, seed_rule="b")
CLASSES = ("cat", "dog", "owl", "newt")


def network(spec: StudentSpec, shape: tuple[int, int, int] = SHAPE, **facts: object) -> TrainedModel:
    """A network with random weights."""
    torch.manual_seed(0)
    mean, std = ((0.5, 0.4, 0.3), (0.25, 0.2, 0.3)) if shape[0] == 3 else ((0.5,), (0.25,))
    description = {"resizing": "none", "class_names": CLASSES} | facts
    return TrainedModel(
        build(spec, input_shape=shape, classes=len(CLASSES)),
        ModelDescription(architecture=spec, input_shape=shape, mean=mean, std=std, **description),
    )


def random_data(shape: tuple[int, int, int] = SHAPE, images: int = 40) -> Data:
    """Random images of four classes."""
    generator = np.random.default_rng(0)
    train, test = (generator.integers(0, 256, (images, *shape), np.uint8) for _ in range(2))
    labels = np.arange(images, dtype=np.int64) % len(CLASSES)
    return data_from_arrays(Arrays(train, labels, test, labels, CLASSES), DataSpec(kind="digits", pad=0))


def of_data(spec: StudentSpec, data: Data) -> TrainedModel:
    """A network with random weights for the data's images."""
    torch.manual_seed(0)
    built = build(spec, input_shape=data.input_shape, classes=data.classes)
    return TrainedModel(built, describe(spec, data))


def write_images(folder: Path, number: int, mode: str, sizes: tuple[int, int] = (20, 60)) -> list[Path]:
    """Files of noise with some structure, each of another size."""
    draw, generator, paths = random.Random(0), np.random.default_rng(0), []
    for index in range(number):
        size = (draw.randint(*sizes), draw.randint(*sizes))
        noise = Image.fromarray(generator.integers(0, 256, (4, 5, 3), np.uint8)).convert(mode)
        paths.append(folder / f"{index}.png")
        noise.resize(size, Image.Resampling.BICUBIC).save(paths[-1])
    return paths


@contextmanager
def short_latency() -> Iterator[None]:
    """A context in which latency is measured in few runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "SECONDS", 0.0)
        patch.setattr(latency, "LEAST_RUNS", 5)
        yield


@dataclass(frozen=True)
class Deployed:
    """A deployed study: its working directory, the deployed folder, and what the command printed."""

    study: Path
    folder: Path
    result: CommandResult


def write_folder(folder: Path, model: TrainedModel) -> None:
    deployment = Deployment(model=model.description, origin=ORIGIN, test_accuracy=50.0, test_images=2)
    (folder / "config.json").write_text(config_of(model, deployment).to_json())
    write_weights(folder, model)
