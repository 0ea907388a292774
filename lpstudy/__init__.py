"""Distributed hyperparameter studies of knowledge distillation."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lpstudy.model_file import TrainedModel

__version__ = "0.1.0"


def load_model(path: str | Path) -> "TrainedModel":
    """A network that lpstudy has trained, in evaluation mode, for images in 0..1: see `TrainedModel`.

    Args:
        path: `weights.safetensors`, or a folder with it: of a run, of MLflow's artifacts, of a teacher.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no safetensors file, has no description, or one that it does not fit.
    """
    from lpstudy.model_file import load_model

    return load_model(path)


if sys.flags.optimize > 1:
    from lpstudy.optimized import restart

    restart()
