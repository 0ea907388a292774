"""Accuracy by class, against counting by hand."""

import numpy as np
import pytest

from lpstudy.class_accuracy import (
    balanced_accuracy,
    balanced_images,
    class_accuracies,
    is_uneven,
    pack_labels,
    unpack_labels,
)

LABELS = np.array([0] * 8 + [1] * 4 + [3] * 2)
CORRECT = np.array([1] * 6 + [0] * 2 + [1, 0, 0, 0] + [1, 1], dtype=bool)


def test_it_is_the_mean_over_the_classes_that_have_images() -> None:
    assert class_accuracies(CORRECT, LABELS) == pytest.approx([75, 25, np.nan, 100], nan_ok=True)
    assert balanced_accuracy(CORRECT, LABELS) == pytest.approx(200 / 3)
    even = np.repeat(np.arange(7), 2)
    assert balanced_accuracy(CORRECT, even) == pytest.approx(100 * CORRECT.mean())


def test_classes_are_uneven_from_half_as_many_images_more_on() -> None:
    assert is_uneven(LABELS)
    assert not is_uneven(np.array([0] * 3 + [1] * 2))
    assert is_uneven(np.array([0] * 4 + [1] * 2))
    assert not is_uneven(np.array([5, 5]))


def test_even_classes_are_worth_all_their_images_and_uneven_ones_fewer() -> None:
    assert balanced_images(np.repeat(np.arange(4), 25)) == 100
    # A binomial variance of each class: p(1 - p) (1/8 + 1/4 + 1/2) / 9 = p(1 - p) / (72 / 7).
    assert balanced_images(LABELS) == 10


def test_labels_survive_their_text_and_others_are_refused() -> None:
    labels = np.array([0, 65535, 7])
    assert unpack_labels(pack_labels(labels)).tolist() == labels.tolist()
    for text in ("", "x", "AA==", "é"):
        with pytest.raises(ValueError, match="a record of labels"):
            unpack_labels(text)
    with pytest.raises(ValueError, match="more than 1,000,000 images"):
        unpack_labels("A" * 3_000_004)
