"""What a study's constraints leave of the designs that its arms search."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from lpstudy.cost import cost_of
from lpstudy.space import Arm, StudySpec

LISTED = 256
"""Designs of a searched student of which each is held against the constraints before the first trial."""


class Limits:
    """Limits of MACs and parameters, held against designs.

    Args:
        spec: The study.
        input_shape: (channels, height, width) of the images.
        classes: Number of classes.
    """

    def __init__(self, spec: StudySpec, *, input_shape: tuple[int, int, int], classes: int) -> None:
        self._limits, self._input_shape, self._classes = spec.constraints, input_shape, classes

    def excess(self, arm: Arm, values: Mapping[str, Any]) -> dict[str, float]:
        """By how much, relative to each limit, a design is above it; empty without limits."""
        limits = self._limits
        spec = arm.student_spec(values)
        cost = cost_of(spec, input_shape=self._input_shape, classes=self._classes)
        pairs = {"macs": (cost.macs, limits.max_macs), "parameters": (cost.parameters, limits.max_parameters)}
        return {key: have / limit - 1 for key, (have, limit) in pairs.items() if limit is not None}

    def points(self, arm: Arm) -> int | None:
        """How many different trials an arm has, at most; None where a range is continuous.

        Designs beyond the constraints are left out, where there are few enough to look at each.
        """
        sizes = list(islice(arm.student.sizes(), LISTED + 1))
        if arm.points is None or not self.excess(arm, sizes[0]) or len(sizes) > LISTED:
            return arm.points
        fits = sum(all(excess <= 0 for excess in self.excess(arm, size).values()) for size in sizes)
        return arm.points // len(sizes) * fits
