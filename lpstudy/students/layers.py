"""What the families share: named layers whose outputs can be asked for."""

from torch import Tensor, nn


def run_layers(
    layers: nn.Sequential, images: Tensor, wanted: frozenset[str]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run named layers in turn: the last output, and the outputs of the layers that are wanted."""
    maps = {}
    for name, layer in layers.named_children():
        images = layer(images)
        if name in wanted:
            maps[name] = images
    return images, maps


def check_maps(wanted: frozenset[str], known: tuple[str, ...]) -> None:
    """Refuse maps that a network does not have.

    Raises:
        ValueError: A wanted name is not among the known ones.
    """
    if unknown := sorted(wanted.difference(known)):
        raise ValueError(f"unknown map {', '.join(unknown)}: this network has {', '.join(known)}")


def last_linear(network: nn.Module) -> tuple[str, nn.Linear] | None:
    """The classifier by its place: the last linear layer, with its name; None if there is none."""
    linears = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return linears[-1] if linears else None
