"""The exponential moving average of a student's weights: `[training] ema`."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn


class WeightAverage(nn.Module):
    """The average (1 - d) * sum_i d^(t - i) w_i / (1 - d^t) over the weights w_1 ... w_t after t steps.

    It starts from 0 and is divided by the sum of its coefficients, so that the initial weights have no part
    in it, however few steps there were. Running statistics are averaged as the weights are.

    Args:
        student: The network; its tensors are read at each update.
        decay: d, in (0, 1).
    """

    def __init__(self, student: nn.Module, decay: float) -> None:
        super().__init__()
        self._decay = decay
        floating = (value for value in student.buffers() if value.is_floating_point())
        self._sources: list[Tensor] = [*chain(student.parameters(), floating)]
        for number, source in enumerate(self._sources):
            self.register_buffer(f"sum{number}", torch.zeros_like(source, requires_grad=False))

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        torch._foreach_lerp_(
            [*self.buffers()], [source.detach() for source in self._sources], 1 - self._decay
        )

    @contextmanager
    def in_student(self, steps: int) -> Iterator[None]:
        """The student has its average weights within the context, after so many steps (at least 1)."""
        current = [source.detach().clone() for source in self._sources]
        with torch.no_grad():
            for source, value in zip(self._sources, self.buffers(), strict=True):
                source.copy_(value / (1 - self._decay**steps))
        try:
            yield
        finally:
            with torch.no_grad():
                for source, value in zip(self._sources, current, strict=True):
                    source.copy_(value)
