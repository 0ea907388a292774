"""How weights and pixels lie in memory: a pixel's channels side by side, quicker for convolutions."""

import torch
from torch import Tensor


def channels_last(images: Tensor) -> Tensor:
    """Images of shape (m, channels, height, width); their values stay as they are."""
    return images.contiguous(memory_format=torch.channels_last)


def channels_last_(network: torch.nn.Module) -> None:
    """The same for the weights of a network's convolutions, in place."""
    network.to(memory_format=torch.channels_last)
