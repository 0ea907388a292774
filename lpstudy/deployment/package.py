"""The files of a deployed folder: written, each held against torch, and timed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lpstudy.data import Data
from lpstudy.deployment.agreement import TestImages, evenly_spaced, float_batches, read_test_images
from lpstudy.deployment.config import (
    CONFIG,
    INT8,
    LATENCY,
    ONNX,
    PROGRAM,
    WEIGHTS,
    Deployment,
    FileCheck,
    Origin,
    config_of,
)
from lpstudy.deployment.int8_file import CALIBRATION_IMAGES, write_int8
from lpstudy.deployment.latency import LatencyTable, measure_latency
from lpstudy.deployment.onnx_file import FileProblemError, check_packages, write_onnx
from lpstudy.deployment.program_file import write_program
from lpstudy.disk import write_atomically
from lpstudy.model_file import TrainedModel
from lpstudy.students.timm import TimmNet

TOLERANCE = 1e-3
"""Largest difference of logits, relative to the largest logit or 1, that a float file may have to torch."""
_TIMM_PREFIX = "network."
"""What stands before timm's own names of tensors in a `TimmNet`."""


@dataclass(frozen=True, eq=False, slots=True)
class Choice:
    """The network to deploy."""

    model: TrainedModel
    """On the CPU."""
    origin: Origin
    """Where it comes from."""
    int8: bool
    """Whether it is quantised, too."""


@dataclass(frozen=True, slots=True)
class Package:
    """What a deployed folder has, besides its card."""

    deployment: Deployment
    latency: LatencyTable


def write_package(folder: Path, choice: Choice, data: Data, say: Callable[[str], None]) -> Package:
    """Write a network's files to a folder: weights, configuration, ONNX, torch.export, int8, latency.

    A file of a kind that the network cannot become, or whose logits differ from torch's, is left out, and
    the configuration says why.

    Args:
        folder: An empty folder.
        choice: The network.
        data: Its test images hold the files against torch; its training images calibrate int8.
        say: Is given one line for each step.

    Raises:
        ValueError: A package is missing, or an image cannot be read.
        StorageError: A file cannot be written.
    """
    check_packages()
    say(f"torch: {len(data.test):,} test images")
    model = choice.model
    images = read_test_images(model, data.test)
    write_weights(folder, model)
    shape = model.description.input_shape
    files: dict[str, FileCheck] = {}
    problems: dict[str, str] = {}
    for name, write in _writers(model, data, int8=choice.int8).items():
        say(f"{name}: writing it, and comparing it with torch on test images")
        path = folder / name
        try:
            write(path)
            files[name] = images.compare(path) if name == INT8 else _checked(path, images)
        except FileProblemError as error:
            problems[name] = str(error)
            path.unlink(missing_ok=True)
    deployment = Deployment(
        model=model.description,
        origin=choice.origin,
        test_accuracy=images.accuracy,
        test_images=len(images.labels),
        files=files,
        problems=problems,
    )
    write_atomically(folder / CONFIG, config_of(model, deployment).to_json().encode())
    say(f"{LATENCY}: timing it")
    onnx = {name: folder / name for name in (ONNX, INT8) if name in files}
    latency = measure_latency({"torch": model.network, **onnx}, shape)
    write_atomically(folder / LATENCY, (json.dumps(latency.to_json(), indent=1) + "\n").encode())
    return Package(deployment, latency)


def write_weights(folder: Path, model: TrainedModel) -> None:
    """Write the weights with their description; those of a timm network under timm's own names."""
    from safetensors.torch import save

    state: dict[str, Tensor] = {
        name: tensor.contiguous() for name, tensor in model.network.state_dict().items()
    }
    if isinstance(model.network, TimmNet):
        state = {name.removeprefix(_TIMM_PREFIX): tensor for name, tensor in state.items()}
    write_atomically(folder / WEIGHTS, save(state, metadata=model.description.metadata()))


def _writers(model: TrainedModel, data: Data, *, int8: bool) -> dict[str, Callable[[Path], None]]:
    """The writers of the files that compute, by name; that of int8 reads the ONNX file beside it."""
    shape = model.description.input_shape

    def quantise(path: Path) -> None:
        source = path.with_name(ONNX)
        if not source.is_file():
            raise FileProblemError(f"there is no {ONNX} to quantise")
        samples = evenly_spaced(len(data.train), CALIBRATION_IMAGES)
        write_int8(source, path, float_batches(data.train, samples))

    return {
        ONNX: lambda path: write_onnx(model, shape, path),
        PROGRAM: lambda path: write_program(model, shape, path),
        **({INT8: quantise} if int8 else {}),
    }


def _checked(path: Path, images: TestImages) -> FileCheck:
    """The agreement of a float file.

    Raises:
        FileProblemError: It is another network than torch's.
    """
    check = images.compare(path)
    largest = max(1.0, float(abs(images.logits).max()))
    if check.largest_difference > TOLERANCE * largest:
        raise FileProblemError(
            f"its logits differ from torch's by up to {check.largest_difference:.2g}, more than"
            f" {TOLERANCE:g} of the largest, {largest:.3g}"
        )
    return check
