"""Class names and positions from the labels that files hold: whole numbers or texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Label = int | str | None
"""A label as a file holds it; None: it is missing."""
MISSING = (None, -1)
"""Labels of images that nobody has labelled."""


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a data set, and the labels of its parts."""

    names: tuple[str, ...]
    labels: dict[str, npt.NDArray[np.int64]]
    """Positions in the names, by part."""
    remarks: tuple[str, ...] = ()


def classes_of(parts: Mapping[str, Sequence[Label]], declared: Sequence[str] | None) -> Classes:
    """The classes of the training set's labels.

    Args:
        parts: The labels of each part, of which `train` is one; a part without any label is left out.
        declared: Names of the classes, to which numbers are positions; None: the labels are the names, in
            order of their numbers, or of their bytes.

    Raises:
        ValueError: A label is missing or none of the classes, or the training set lacks a class of another.
    """
    remarks: list[str] = []
    labelled: dict[str, Sequence[Label]] = {}
    for part, labels in parts.items():
        if part != "train" and all(label in MISSING for label in labels):
            remarks.append(f"{part} has no labels and is left out")
        else:
            _check(part, labels)
            labelled[part] = labels
    values, names = _values(labelled["train"], declared)
    used = {label for labels in labelled.values() for label in labels if label is not None}
    if outside := used - {*values}:
        _refuse_outside(labelled, outside, None if declared is None else len(names))
    used_rows = [row for row, value in enumerate(values) if value in used]
    if len(used_rows) < len(values):
        remarks.append(
            f"{len(values) - len(used_rows)} of {len(values)} classes have no images and are left out"
        )
    if len(used_rows) < 2:
        raise ValueError(f"the training set has {len(used_rows)} class, a data set needs two")
    positions: dict[Label, int] = {values[row]: position for position, row in enumerate(used_rows)}
    names = tuple(names[row] for row in used_rows)
    rows = {
        part: np.array([positions[label] for label in labels], dtype=np.int64)
        for part, labels in labelled.items()
    }
    if missing := sorted({*range(len(names))} - {*rows["train"].tolist()}):
        raise ValueError(f"the training set has no image of class {names[missing[0]]!r}")
    return Classes(names, rows, tuple(remarks))


def _values(
    labels: Sequence[Label], declared: Sequence[str] | None
) -> tuple[list[int | str], tuple[str, ...]]:
    """The labels that are allowed, in the order of the classes, and the names of these."""
    if declared is None:
        values = _sorted_values(labels)
        return values, tuple(str(value) for value in values)
    names = _checked_names(declared)
    are_texts = any(isinstance(label, str) for label in labels)
    return [*names] if are_texts else [*range(len(names))], names


def _check(part: str, labels: Sequence[Label]) -> None:
    """Refuse an image without a label, and labels of two types."""
    for row, label in enumerate(labels):
        if label in MISSING:
            raise ValueError(
                f"{part}: image {row} has no label ({label}): images without labels belong in"
                " [data] unlabelled"
            )
    if len({type(label) for label in labels}) > 1:
        raise ValueError(f"{part}: some labels are numbers and others are texts")


def _sorted_values(labels: Sequence[Label]) -> list[int | str]:
    """The distinct labels: numbers in their order, texts in that of their bytes."""
    distinct = {label for label in labels if label is not None}
    return sorted(distinct, key=lambda value: (0, value, b"") if isinstance(value, int) else _text_key(value))


def _text_key(text: str) -> tuple[int, int, bytes]:
    return 1, 0, text.encode("utf-8", "surrogatepass")


def _checked_names(names: Sequence[str]) -> tuple[str, ...]:
    if not names or not all(isinstance(name, str) and name for name in names) or len({*names}) < len(names):
        raise ValueError(f"class names must be distinct texts but are {str([*names])[:200]}")
    return tuple(names)


def _refuse_outside(
    labels: Mapping[str, Sequence[Label]], outside: set[int | str], count: int | None
) -> None:
    """Refuse the first label that is no class; `count` is the number of class names."""
    part, row, label = next(
        (part, row, label)
        for part, values in labels.items()
        for row, label in enumerate(values)
        if label in outside
    )
    shown = repr(label[:100]) if isinstance(label, str) else label
    where = f"{part}: label {shown} of image {row}"
    if count is None:
        raise ValueError(f"{where} is not among those of the training set")
    if isinstance(label, str):
        raise ValueError(f"{where} is not among the {count} class names")
    raise ValueError(f"{where} is outside of [0, {count}), the number of class names")
