"""The teacher's logits of the test images: computed once after its training, read by finals."""

import errno
import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from lpstudy.data import Data
from lpstudy.disk import StorageError, UnreachableError
from lpstudy.folder import Folder, folder_at
from lpstudy.one_line import one_line
from lpstudy.students import read_weights_file
from lpstudy.training.checkpoint import to_safetensors
from lpstudy.training.predictions import Predictions

TEST_LOGITS = "test_logits.safetensors"
MAX_BYTES = 1 << 28
"""The largest such file: room for 50,000 images of 1,000 classes."""
_KEY = "logits"


def predictions_with_logits(data: Data, device: torch.device) -> Predictions:
    """An empty record of the test set that keeps the logits, unless they would be more than `MAX_BYTES`."""
    images = len(data.test)
    predictions = Predictions.of(images, classes=data.classes, device=device)
    if 4 * images * data.classes > MAX_BYTES:
        return predictions
    return replace(predictions, logits=torch.zeros(images, data.classes))


def write_test_logits(folder: Folder, predictions: Predictions) -> str | None:
    """Write the logits into the teacher's folder; return the file's SHA-256, None where there are none."""
    if predictions.logits is None or not bool(predictions.logits.isfinite().all()):
        return None
    content = to_safetensors({_KEY: predictions.logits})
    folder.write(TEST_LOGITS, content)
    return hashlib.sha256(content).hexdigest()


def logits_reader(folder: str, sha256: str | None) -> Callable[[], Tensor] | None:
    """A function that reads the logits of a teacher's folder; None where there are none.

    Args:
        folder: The teacher's folder.
        sha256: The recorded SHA-256 of the file; None without one.
    """
    return None if sha256 is None else partial(_read, folder, sha256)


def _read(folder: str, sha256: str) -> Tensor:
    """The logits, float32, shape (images, classes).

    Raises:
        UnreachableError: The file is missing or damaged; the next start of the study computes it again.
    """
    try:
        return read_weights_file(folder_at(folder), TEST_LOGITS, sha256=sha256).tensors[_KEY]
    except StorageError:
        raise
    except (OSError, ValueError, KeyError) as error:
        reason = f"the teacher's logits of the test set cannot be read: {one_line(error)}"
        raise UnreachableError(errno.EIO, reason) from error
