"""A check for batch norm layers that would have to train on a single value per channel."""

import torch

from lpstudy.outputs import Network


def check_batch_norm(network: Network, input_shape: tuple[int, int, int], label: str, setting: str) -> None:
    """Refuse a network that cannot train on one image at a time.

    A network whose batch norms normalise maps larger than 1x1 can: one image has several values per channel.

    Args:
        network: The network without weights, on the meta device.
        input_shape: The shape of an image.
        label: The network's name in the message.
        setting: The setting because of which a worker has one image.

    Raises:
        ValueError: It cannot; the message names the network and the setting.
    """
    try:
        network.train()(torch.empty(1, *input_shape, device="meta"), ())
    except ValueError as error:  # torch: "Expected more than 1 value per channel when training"
        raise ValueError(
            f"{setting}: a worker has one image of each batch, on which the batch norm of {label} cannot"
            f" train ({error}): use fewer workers or larger batches"
        ) from None
