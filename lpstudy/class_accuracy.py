"""Accuracy by class, for test sets whose classes are uneven, and the labels that it needs as text."""

import base64
import binascii

import numpy as np
from numpy.typing import NDArray

UNEVEN = 1.5
"""Images of the largest class over those of the smallest one, above which balanced accuracy is shown."""
TOP = 5
"""Guesses of top-5 accuracy."""
TOP_FROM = 20
"""Classes from which on top-5 accuracy is shown."""
MAX_LABELS = 1_000_000
"""The most images of a record of labels."""


def class_sizes(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Images of each class, from class 0 to the last one that has any."""
    return np.bincount(labels)


def is_uneven(labels: NDArray[np.integer]) -> bool:
    """Whether the largest class has more than 1.5 times the images of the smallest one that has any."""
    sizes = class_sizes(labels)
    return bool(sizes.max() > UNEVEN * sizes[sizes > 0].min())


def class_accuracies(
    correct: NDArray[np.bool_] | NDArray[np.float64], labels: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Accuracy in percent of each class (recall), NaN for one without images.

    Args:
        correct: Whether each image is classified correctly, or how often of several times, shape (n,).
        labels: Shape (n,).
    """
    sizes = class_sizes(labels)
    hits = np.bincount(labels, weights=correct, minlength=len(sizes))
    shares: NDArray[np.float64] = np.full(len(sizes), np.nan)
    np.divide(100 * hits, sizes, out=shares, where=sizes > 0)
    return shares


def balanced_accuracy(correct: NDArray[np.bool_], labels: NDArray[np.integer]) -> float:
    """Mean over the classes of the accuracy in percent; see `class_accuracies`."""
    return float(np.nanmean(class_accuracies(correct, labels)))


def balanced_images(labels: NDArray[np.integer]) -> int:
    """The images K² / sum_k 1/n_k that are worth as much as K classes of n_k images for a mean over classes.

    An equal share p of correct images in each class gives the mean the variance p (1 - p) / that number.
    """
    sizes = class_sizes(labels)
    sizes = sizes[sizes > 0]
    return round(len(sizes) ** 2 / float((1 / sizes).sum()))


def pack_labels(labels: NDArray[np.integer]) -> str:
    """Labels of n images below 65,536 as base64 of 16 bits each, little-endian."""
    return base64.b64encode(labels.astype("<u2").tobytes()).decode("ascii")


def unpack_labels(text: str) -> NDArray[np.int64]:
    """The labels of a text of `pack_labels`.

    Raises:
        ValueError: The text is not such a record.
    """
    if len(text) > 3 * MAX_LABELS:
        raise ValueError(f"has labels of more than {MAX_LABELS:,} images")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"not a record of labels: {error}") from None
    if not content or len(content) % 2:
        raise ValueError(f"a record of labels has {len(content)} bytes")
    return np.frombuffer(content, "<u2").astype(np.int64)
