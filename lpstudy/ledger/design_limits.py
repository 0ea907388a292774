"""Limits on the designs that a study's arms search: MACs, parameters and latency."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from lpstudy.cost import cost_of
from lpstudy.space import Arm, StudySpec

DESIGN_LATENCIES = "design_latencies"
"""The ledger's fact with the latencies by which designs are judged."""
LATENCY = "latency"
"""The ledger's fact with the latencies of teacher and winners."""
MAX_DESIGNS_CHECKED = 256
"""The most designs of an arm that are checked one by one before the first trial."""


class DesignLimits:
    """A study's limits on its designs, with checks of them.

    Args:
        spec: The study.
        latencies: Milliseconds of one image's forward pass by a design's label; others are not judged.
        input_shape: (channels, height, width) of the images.
        classes: Number of classes.
    """

    def __init__(
        self,
        spec: StudySpec,
        latencies: Mapping[str, float],
        *,
        input_shape: tuple[int, int, int],
        classes: int,
    ) -> None:
        self.latencies = latencies
        self._limits, self._input_shape, self._classes = spec.constraints, input_shape, classes

    def excess(self, arm: Arm, values: Mapping[str, Any]) -> dict[str, float]:
        """The relative excess of a design over each limit: see `Constraints.excess`."""
        spec = arm.student_spec(values)
        cost = cost_of(spec, input_shape=self._input_shape, classes=self._classes)
        latency = self.latencies.get(spec.label())
        return self._limits.excess(macs=cost.macs, parameters=cost.parameters, latency_ms=latency)

    def points(self, arms: Mapping[str, Arm]) -> dict[str, int]:
        """The largest number of different trials of each arm, where no range is continuous."""
        counts = {name: self._points(arm) for name, arm in arms.items()}
        return {name: count for name, count in counts.items() if count is not None}

    def _points(self, arm: Arm) -> int | None:
        """The largest number of different trials of an arm; None where a range is continuous.

        Designs beyond the constraints are not counted where few enough designs exist to check each.
        """
        sizes = list(islice(arm.student.sizes(), MAX_DESIGNS_CHECKED + 1))
        if arm.points is None or not self.excess(arm, sizes[0]) or len(sizes) > MAX_DESIGNS_CHECKED:
            return arm.points
        fits = sum(all(excess <= 0 for excess in self.excess(arm, size).values()) for size in sizes)
        return arm.points // len(sizes) * fits
