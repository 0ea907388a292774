"""Weights from a local safetensors file into a network."""

from pathlib import Path

from torch import Tensor

from lpstudy.outputs import Network
from lpstudy.students.layers import last_linear

PREFIX = "network."
"""What stands before torchvision's own names in a network that wraps one of its models."""

AUXILIARY_HEADS = tuple(f"{PREFIX}{name}." for name in ("aux1", "aux2", "AuxLogits"))
"""Of GoogLeNet and Inception v3: they only helped to train the published weights."""


def load_weights(network: Network, path: Path) -> None:
    """Fill a network from a safetensors file, which must hold all of its tensors and no other.

    A head (the last linear layer) of another class count is left as it was initialised. Names may be those of
    the network's own `state_dict`, or those of the torchvision model that it wraps, auxiliary heads included.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no safetensors file, or names or shapes differ.
    """
    own = network.state_dict()
    state = _fitted(_read(path), own)
    if missing := sorted(own.keys() - state.keys()):
        raise ValueError(f"{path} lacks {_some(missing)}")
    if unexpected := sorted(state.keys() - own.keys()):
        raise ValueError(f"{path} holds {_some(unexpected)}, which this network does not have")
    for name in _other_head(network, state):
        state[name] = own[name]
    for name, value in own.items():
        if value.shape != state[name].shape:
            raise ValueError(
                f"{path}: {name.removeprefix(PREFIX)} has shape {list(state[name].shape)}"
                f" where this network needs {list(value.shape)}"
            )
    network.load_state_dict(state)


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: a safetensors file was expected there")
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {' '.join(str(error).split())}") from error


def _fitted(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors by the network's names, less the auxiliary heads."""
    wraps = all(name.startswith(PREFIX) for name in own)
    if wraps and not any(name.startswith(PREFIX) for name in state):
        state = {PREFIX + name: value for name, value in state.items()}
    state = {name: value for name, value in state.items() if not name.startswith(AUXILIARY_HEADS)}
    for name, value in own.items():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, value)  # files older than these counters are complete without them
    return state


def _other_head(network: Network, state: dict[str, Tensor]) -> list[str]:
    """The tensors of the head, if the file's differs from the network's in nothing but the class count."""
    head = last_linear(network)
    if head is None:
        return []
    name, linear = head
    found, needed = state[f"{name}.weight"].shape, linear.weight.shape
    if found[0] == needed[0] or found[1:] != needed[1:]:
        return []
    return [f"{name}.{part}" for part, _ in linear.named_parameters()]


def _some(names: list[str]) -> str:
    """A few names of a list that may be long."""
    shown = ", ".join(name.removeprefix(PREFIX) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
