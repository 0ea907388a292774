"""The cost of a network: parameters, and multiply-accumulates of one image's forward pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lpstudy.students import StudentSpec, build


@dataclass(frozen=True, slots=True)
class Cost:
    """A network's parameters and multiply-accumulates."""

    parameters: int
    """Learned weights, without running statistics."""
    macs: int
    """Multiply-accumulates of one image's forward pass: convolutions and matrix products."""

    @property
    def flops(self) -> int:
        """Floating-point operations of one image's forward pass, 2 x MACs."""
        return 2 * self.macs


def cost(model: nn.Module, input_shape: tuple[int, int, int]) -> Cost:
    """Count a network's parameters and the MACs of one image, by torch's operator counter.

    The image is run once in evaluation mode, on the device of the weights; on the meta device nothing is
    computed. The network does not change.

    Args:
        model: Takes images of shape (1, *input_shape).
        input_shape: (channels, height, width) of an image.
    """
    parameters = list(model.parameters())
    example = parameters[0] if parameters else torch.empty(0)
    image = torch.zeros((1, *input_shape), device=example.device, dtype=example.dtype)
    counter = FlopCounterMode(display=False)
    with _evaluation_mode(model), _unfused_attention(), torch.no_grad(), counter:
        model(image)
    # Each multiply-accumulate counts as two operations there.
    return Cost(sum(parameter.numel() for parameter in parameters), counter.get_total_flops() // 2)


@cache
def cost_of(spec: StudentSpec, *, input_shape: tuple[int, int, int], classes: int) -> Cost:
    """The cost of a spec's network, whose weights are not initialised.

    Raises:
        ValueError: The design does not fit images of this shape.
    """
    with torch.device("meta"):
        return cost(build(spec, input_shape=input_shape, classes=classes), input_shape)


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within the context; afterwards each module's own mode again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _unfused_attention() -> Iterator[None]:
    """Attention as separate operators: the counter does not know the fused operator of evaluation mode."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
