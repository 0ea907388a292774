"""Names of shifted test sets: C-lite, official corruption files, other data sets with the same classes."""

import re
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lpstudy.data.corruptions import CORRUPTIONS
from lpstudy.data.dataset import Data
from lpstudy.data.split import Split

OFFICIAL = "cifar_c/"
"""What names of official corruptions begin with."""
OTHER = "data/"
"""What names of other data sets begin with."""
MOST_NAMED = 5


_NAME = re.compile(
    rf"(?:(?P<other>{OTHER}[a-z0-9_-]+)|(?P<corruption>(?:{OFFICIAL})?[A-Za-z0-9_.-]+)_(?P<severity>[1-5]))"
)


@dataclass(frozen=True, slots=True)
class ShiftName:
    """The parts of a shift's name, "noise_1", "cifar_c/fog_3" or "data/photos"."""

    family: str
    """Which shifts are averaged and judged together: "C-lite", "CIFAR-C", or another data set's name."""
    corruption: str
    """The name without its severity."""
    severity: int | None

    @classmethod
    def of(cls, name: str) -> "ShiftName | None":
        """The parts of a name; None where it is not one of a shift."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        if match["other"]:
            return cls(name, name, None)
        family = "CIFAR-C" if name.startswith(OFFICIAL) else "C-lite"
        return cls(family, match["corruption"], int(match["severity"]))

    @property
    def rank(self) -> tuple[object, ...]:
        """The key of the order: C-lite as it lists them, official corruptions, then data sets by name."""
        place = CORRUPTIONS.index(self.corruption) if self.corruption in CORRUPTIONS else len(CORRUPTIONS)
        families = ("C-lite", "CIFAR-C")
        family = families.index(self.family) if self.family in families else len(families)
        return family, place, self.corruption, self.severity or 0


def other_test_set(name: str, other: Data, study: Data) -> Split:
    """The test images of another data set, with the study's classes and normalisation.

    Raises:
        ValueError: Its classes or the size of its images differ.
    """
    where = f"shift.data: {name}"
    if other.input_shape != study.input_shape:
        raise ValueError(
            f"{where}: its images are {_shape(other)} but the study's are {_shape(study)}"
            " (channels x height x width)"
        )
    missing = [one for one in study.class_names if one not in other.class_names]
    added = [one for one in other.class_names if one not in study.class_names]
    if missing or added:
        words = [f"lacks {_listed(missing)}"] * bool(missing) + [f"has also {_listed(added)}"] * bool(added)
        raise ValueError(f"{where}: its classes must have the study's names, but it {' and '.join(words)}")
    positions = torch.tensor([study.class_names.index(one) for one in other.class_names])
    labels: Tensor = positions[other.test.labels]
    return replace(study.test, pixels=other.test.pixels, labels=labels)


def _shape(data: Data) -> str:
    return " x ".join(map(str, data.input_shape))


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
