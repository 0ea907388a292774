"""Batch norm, which cannot train on a single value: seen before anything is trained."""

import torch

from lpstudy.outputs import Network


def check_batch_norm(network: Network, input_shape: tuple[int, int, int], label: str, setting: str) -> None:
    """Refuse a network that cannot train on one image at a time.

    Where the maps that a batch norm normalises are larger than 1x1, one image has several values of each
    channel, and it can.

    Args:
        network: Without weights, on the meta device.
        input_shape: Of an image.
        label: Of the network.
        setting: Because of which a worker has one image.

    Raises:
        ValueError: Names the network and the setting.
    """
    try:
        network.train()(torch.empty(1, *input_shape, device="meta"), frozenset())
    except ValueError as error:  # torch: "Expected more than 1 value per channel when training"
        raise ValueError(
            f"{setting}: a worker has one image of each batch, on which the batch norm of {label} cannot"
            f" train ({error}): use fewer workers or larger batches"
        ) from None
