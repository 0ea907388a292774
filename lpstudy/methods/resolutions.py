"""The maps of a network by resolution."""

import torch

from lpstudy.outputs import Network, Outputs


@torch.no_grad()
def resolutions(network: Network) -> tuple[str, ...]:
    """The last of the network's stages of each resolution with more than one place, from shallow to deep.

    One image of zeros is run in evaluation mode, on the device of the weights.

    Raises:
        ValueError: The network does not say the shape of its images, which `build` tells it.
    """
    if network.input_shape is None:
        raise ValueError("layers: must be named for a network without an input_shape")
    example, was_training = next(network.parameters()), network.training
    image = torch.zeros(1, *network.input_shape, device=example.device, dtype=example.dtype)
    outputs: Outputs = network.eval()(image, network.stages)
    network.train(was_training)
    last: dict[torch.Size, str] = {}
    for name, values in outputs.maps.items():
        if values.shape[2:].numel() > 1:
            last.pop(values.shape[2:], None)
            last[values.shape[2:]] = name
    return tuple(last.values())
