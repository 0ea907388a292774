"""Limits on the designs that a study's arms search: MACs and parameters."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from lpstudy.cost import cost_of
from lpstudy.space import Arm, StudySpec

MAX_DESIGNS_CHECKED = 256
"""The most designs of an arm that are checked one by one before the first trial."""


class DesignLimits:
    """A study's limits on MACs and parameters, with checks of designs.

    Args:
        spec: The study.
        input_shape: (channels, height, width) of the images.
        classes: Number of classes.
    """

    def __init__(self, spec: StudySpec, *, input_shape: tuple[int, int, int], classes: int) -> None:
        self._limits, self._input_shape, self._classes = spec.constraints, input_shape, classes

    def excess(self, arm: Arm, values: Mapping[str, Any]) -> dict[str, float]:
        """The relative excess of a design over each limit: see `Constraints.excess`."""
        spec = arm.student_spec(values)
        cost = cost_of(spec, input_shape=self._input_shape, classes=self._classes)
        return self._limits.excess(macs=cost.macs, parameters=cost.parameters)

    def points(self, arm: Arm) -> int | None:
        """The largest number of different trials of an arm; None where a range is continuous.

        Designs beyond the constraints are not counted where few enough designs exist to check each.
        """
        sizes = list(islice(arm.student.sizes(), MAX_DESIGNS_CHECKED + 1))
        if arm.points is None or not self.excess(arm, sizes[0]) or len(sizes) > MAX_DESIGNS_CHECKED:
            return arm.points
        fits = sum(all(excess <= 0 for excess in self.excess(arm, size).values()) for size in sizes)
        return arm.points // len(sizes) * fits
