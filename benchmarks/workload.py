"""The benchmarks' workload: CIFAR-10 images, FitNets and their teacher, a trial of CE + KD + LP.

The weights are initial ones: the cost of a step does not depend on them.
"""

import argparse
import hashlib
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lpstudy.cost import cost_of
from lpstudy.data import Data
from lpstudy.data.pixels import ArrayPixels
from lpstudy.data.preprocessing import Preprocessing
from lpstudy.data.split import Split
from lpstudy.methods.lp import LP
from lpstudy.methods.lp_graphs import GraphSource
from lpstudy.space import Precision, RunSpec, Training
from lpstudy.students import StudentSpec, build
from lpstudy.students.maxout import MaxoutNet
from lpstudy.teacher import OnlineTeacher

BATCH = 128
"""Images per step, as in FitNets."""
GATE = 32
"""Images of the step that is compared before anything is timed."""
PAD = 4
"""Pixels of black around an image, from which a crop is cut."""
SHAPE = (3, 32, 32)
CLASSES = 10
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Mean and standard deviation of CIFAR-10, per channel."""
STUDENTS = ("fitnet1", "fitnet2", "fitnet3", "fitnet4")
LEARNING_RATE = 1e-3
"""The learning rate of SGD with Nesterov momentum 0.9."""
METHOD = LP(gamma=0.01, n_neighbors=5, bandwidth=1.0, ramp=0.0, kd_weight=1.0, kd_temperature=4.0)
"""CE + KD + LP, the LP term at its full weight from the first step."""
TEACHER_SEED = 9
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Images:
    """Some training images and where they are from."""

    pixels: Tensor
    """uint8, shape (n, 3, 32, 32)."""
    labels: Tensor
    """int64, shape (n,)."""
    source: str


def command(description: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument(
        "--data-root",
        type=Path,
        help="folder that has CIFAR-10 (default: LPSTUDY_DATA; else images are generated)",
    )
    return parser


def load_images(root: Path | None, count: int) -> Images:
    """The first images of CIFAR-10, class by class in turn; generated ones where it cannot be read.

    Args:
        root: Holds `cifar10/train/<class>/*.png`, or `cifar-10-batches-py` as torchvision unpacks it. None is
            what LPSTUDY_DATA names.
        count: How many.
    """
    folder = root or Path(os.environ.get("LPSTUDY_DATA") or ".")
    if find_spec("PIL") is None or find_spec("torchvision") is None:
        folder = Path(os.devnull)  # where there is the core alone nothing can read them
    if (folder / "cifar10" / "train").is_dir():
        pixels, labels = _from_folder(folder / "cifar10" / "train", count)
        return Images(torch.from_numpy(pixels), torch.from_numpy(labels), "CIFAR-10")
    if (folder / "cifar-10-batches-py").is_dir():
        from torchvision.datasets import CIFAR10

        dataset = CIFAR10(str(folder), train=True)
        pixels = np.ascontiguousarray(dataset.data[:count].transpose(0, 3, 1, 2))
        return Images(torch.from_numpy(pixels), torch.tensor(dataset.targets[:count]), "CIFAR-10")
    generator = torch.Generator().manual_seed(0)
    generated = torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=generator)
    return Images(generated, torch.arange(count) % CLASSES, "generated images")


def _from_folder(folder: Path, count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    from PIL import Image

    each = -(-count // CLASSES)
    classes = [sorted(path.iterdir())[:each] for path in sorted(folder.iterdir()) if path.is_dir()]
    chosen = [(path, label) for row in zip(*classes, strict=True) for label, path in enumerate(row)][:count]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path, _ in chosen])
    return np.ascontiguousarray(pixels), np.array([label for _, label in chosen], dtype=np.int64)


def make_data(images: Images, *, train: int, pad: int = PAD) -> Data:
    """The first `train` images to train on, cropped and mirrored at random; the rest to validate."""
    rows = torch.arange(len(images.labels))
    plain = Preprocessing(MEAN, STD)
    views = Preprocessing(MEAN, STD, pad, pad > 0, 0)

    def part(chosen: Tensor, preprocessing: Preprocessing) -> Split:
        return Split(ArrayPixels(images.pixels, chosen), images.labels[chosen], preprocessing)

    content = hashlib.sha256(images.pixels.numpy().tobytes() + str((train, pad)).encode()).hexdigest()
    return Data(
        name="cifar10",
        class_names=tuple(str(label) for label in range(CLASSES)),
        input_shape=SHAPE,
        train=part(rows[:train], views),
        validation=part(rows[train:], plain),
        test=part(rows[train:], plain),
        mean=MEAN,
        std=STD,
        fingerprint=content,
        pad=pad,
        flip=pad > 0,
    )


def graph_source(features: Tensor) -> GraphSource:
    """What METHOD makes its graph of: it reads the features alone."""
    rows = torch.arange(len(features))
    return GraphSource(features, rows, rows)


def student_spec(name: str) -> StudentSpec:
    """FitNet 1 to 4, or the teacher, by name."""
    return StudentSpec(family="maxout", design=name)


def network(name: str, *, seed: int = 0) -> MaxoutNet:
    """The network of a name with its initial weights."""
    built = build(student_spec(name), input_shape=SHAPE, classes=CLASSES, seed=seed)
    assert isinstance(built, MaxoutNet)
    return built


def teacher(*, bf16: bool = False, device: torch.device = CPU) -> OnlineTeacher:
    """The FitNets teacher, 9.05 M parameters and 725 M MACs, run at each step."""
    spec = student_spec("teacher")
    macs = cost_of(spec, input_shape=SHAPE, classes=CLASSES).macs
    return OnlineTeacher(network("teacher", seed=TEACHER_SEED), macs, device=device, bf16=bf16)


def trial(
    student: str, *, epochs: int, seed: int = 0, precision: Precision = "fp32", batch_size: int = BATCH
) -> RunSpec:
    """A trial as `lpstudy.training.train` takes it."""
    training = Training(
        batch_size=batch_size,
        optimizer="sgd",
        learning_rate=LEARNING_RATE,
        schedule="constant",
        precision=precision,
        checkpoint_seconds=1e9,
    )
    return RunSpec(student=student_spec(student), method=METHOD, training=training, epochs=epochs, seed=seed)
