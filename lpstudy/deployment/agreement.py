"""Agreement of a deployed file with torch: their logits on the same test images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lpstudy.data.split import Split
from lpstudy.deployment.config import FileCheck
from lpstudy.deployment.onnx_file import INPUT, FileProblemError, open_session
from lpstudy.deployment.program_file import load_program
from lpstudy.model_file import TrainedModel

MOST_IMAGES = 10_000
"""Most test images on which files are compared; of more, so many at even distances."""
BATCH = 250
Logits = npt.NDArray[np.float32]
Forward = Callable[[npt.NDArray[np.float32]], Logits]


@dataclass(frozen=True, eq=False, slots=True)
class TestImages:
    """Test images with torch's logits of them."""

    __test__ = False  # not a test of pytest

    split: Split
    samples: torch.Tensor
    """Positions of the images in the split."""
    labels: npt.NDArray[np.int64]
    logits: Logits
    """torch's, shape (images, classes)."""

    @property
    def accuracy(self) -> float:
        """The accuracy with torch, in percent."""
        return _accuracy(self.logits, self.labels)

    def compare(self, path: Path) -> FileCheck:
        """The agreement of a file (ONNX or torch.export) with torch.

        Raises:
            FileProblemError: The file's logits are not finite.
        """
        forward = _program(path) if path.suffix == ".pt2" else _onnx(path)
        logits = np.concatenate([forward(images) for images in float_batches(self.split, self.samples)])
        if not np.isfinite(logits).all():
            raise FileProblemError("its logits are not finite")
        return FileCheck(
            bytes=path.stat().st_size,
            images=len(self.labels),
            same_top1=int((logits.argmax(1) == self.logits.argmax(1)).sum()),
            largest_difference=float(np.abs(logits - self.logits).max()),
            test_accuracy=_accuracy(logits, self.labels),
        )


@torch.no_grad()
def read_test_images(model: TrainedModel, split: Split) -> TestImages:
    """The test images of a split, and the logits of a network on the CPU.

    Raises:
        ValueError: An image cannot be read.
    """
    samples = evenly_spaced(len(split), MOST_IMAGES)
    logits = [model(images).numpy() for images in split.pixels.read(torch.split(samples, BATCH))]
    return TestImages(split, samples, split.labels[samples].numpy(), np.concatenate(logits))


def float_batches(split: Split, samples: torch.Tensor) -> Iterator[npt.NDArray[np.float32]]:
    """Images as the deployed files take them: float32 in 0..1, shape (m, channels, height, width)."""
    for images in split.pixels.read(torch.split(samples, BATCH)):
        yield (images.float() / 255).numpy()


def evenly_spaced(length: int, most: int) -> torch.Tensor:
    """Positions in [0, length): all of them, or `most` at even distances."""
    if length <= most:
        return torch.arange(length)
    return torch.linspace(0, length - 1, most, dtype=torch.float64).long()


def _onnx(path: Path) -> Forward:
    session = open_session(path)

    def forward(images: npt.NDArray[np.float32]) -> Logits:
        (logits,) = session.run(None, {INPUT: images})
        return np.asarray(logits)

    return forward


def _program(path: Path) -> Forward:
    module = load_program(path)

    @torch.no_grad()
    def forward(images: npt.NDArray[np.float32]) -> Logits:
        logits: Logits = module(torch.from_numpy(images)).numpy()
        return logits

    return forward


def _accuracy(logits: Logits, labels: npt.NDArray[np.int64]) -> float:
    return 100 * float((logits.argmax(1) == labels).mean())
