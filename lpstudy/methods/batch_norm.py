"""Batch normalisation of auxiliary modules, which are trained and never evaluated."""

import torch
from torch import Tensor, nn


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(variance + 1e-5) * weight + bias, mean and variance of each channel of the batch.

    There are no running statistics, for nothing would read them; in evaluation mode it is x * weight + bias.
    A channel with a single value, as in a batch of one vector, becomes its bias.

    Args:
        channels: Size of dimension 1.
        device: The device of the weights.
    """

    def __init__(self, channels: int, *, device: torch.device | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, device=device))
        self.bias = nn.Parameter(torch.zeros(channels, device=device))

    def forward(self, values: Tensor) -> Tensor:
        """Shape (m, channels, ...), unchanged."""
        if values.dim() > 2 and values.shape[2:].numel() == 1:
            # As a vector: the strides of a map of one place may be either memory format's, and the gradient
            # would be summed in the order of the one that it happens to have.
            return self._normalised(values.flatten(1)).view(values.shape)
        return self._normalised(values)

    def _normalised(self, values: Tensor) -> Tensor:
        if not self.training:
            shape = (1, -1, *(1 for _ in values.shape[2:]))
            return values * self.weight.view(shape) + self.bias.view(shape)
        cudnn = torch.backends.cudnn.enabled
        return torch.batch_norm(values, self.weight, self.bias, None, None, True, 0.0, 1e-5, cudnn)
