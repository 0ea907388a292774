"""What a network costs: parameters, and multiply-accumulates of one image's forward."""

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
    """Size and work of a network."""

    parameters: int
    """Weights that are learned; running statistics are none."""
    macs: int
    """Multiply-accumulates of one image's forward: convolutions and matrix products."""

    @property
    def flops(self) -> int:
        """Floating-point operations of one image's forward, 2 x MACs."""
        return 2 * self.macs


def cost(model: nn.Module, input_shape: tuple[int, int, int]) -> Cost:
    """Count a network's parameters and the MACs of one image, by torch's operator counter.

    The image is run once in evaluation mode, on the device of the weights; on the meta device nothing is
    computed. The network is left as it was.

    Args:
        model: Takes images of shape (1, *input_shape).
        input_shape: (channels, height, width) of an image.
    """
    parameters = list(model.parameters())
    like = parameters[0] if parameters else torch.empty(0)
    image = torch.zeros((1, *input_shape), device=like.device, dtype=like.dtype)
    counter = FlopCounterMode(display=False)
    with _evaluating(model), _unfused_attention(), torch.no_grad(), counter:
        model(image)
    # Each multiply-accumulate counts as two operations there.
    return Cost(sum(parameter.numel() for parameter in parameters), counter.get_total_flops() // 2)


@cache
def cost_of(spec: StudentSpec, *, input_shape: tuple[int, int, int], classes: int) -> Cost:
    """Cost of the network of a spec, which is not initialised for it.

    Raises:
        ValueError: The images do not suit the design.
    """
    with torch.device("meta"):
        return cost(build(spec, input_shape=input_shape, classes=classes), input_shape)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, then each module's own mode again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _unfused_attention() -> Iterator[None]:
    """The fused attention of evaluation mode is one operator that the counter does not know."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
