"""Loading of weights from a file into a network, whatever prefix their names have."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from lpstudy.outputs import Network
from lpstudy.students.layers import last_linear
from lpstudy.students.weight_names import COUNTER, PREFIX, best_naming
from lpstudy.students.weights_file import WeightsFile, read_weights
from lpstudy.terminal import printable

AUXILIARY_HEADS = ("aux1.", "aux2.", "AuxLogits.")
"""Heads of GoogLeNet and Inception v3 that only helped to train the published weights."""
_EARLIER_NAMES = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_2\."), r"\1.3."),
)
"""Names in torchvision's published files that its models have renamed since (DenseNet, ViT)."""


@dataclass(frozen=True, slots=True)
class ReplacedHead:
    """A last linear layer that is not from the file, where it has another number of classes."""

    name: str
    file_classes: int
    classes: int

    def __str__(self) -> str:
        difference = f"the file has {self.file_classes} classes, the data {self.classes}"
        return f"{difference}: the last layer ({self.name}) is new"


def load_weights(network: Network, place: str | Path) -> ReplacedHead | None:
    """Load a weights file into a network: see `fit_weights`; return the head that stays as initialised.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no weights file, or does not fit the network.
    """
    state, head = fit_weights(network, read_weights(place))
    load_state(network, state)
    return head


def load_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load tensors into a network with the same names and shapes.

    Some models of torchvision (MNASNet, ViT) need the version of their state, which no file has.
    """
    state_with_version = OrderedDict(state)
    state_with_version._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]  # torch's own way
    network.load_state_dict(state_with_version)


def fit_weights(network: Network, file: WeightsFile) -> tuple[dict[str, Tensor], ReplacedHead | None]:
    """Match a file's tensors to the network's names, all of them and no others.

    Names may be the network's own, those of the model of torchvision or timm that it wraps, those of the same
    network in RepDistiller's code, or any of these below `module.`, `_orig_mod.` or another prefix that all
    share. A head (the last linear layer) of another class count
    gives way to the network's own.

    Args:
        network: The network, not changed; may be on the meta device.
        file: The weights.

    Raises:
        ValueError: Names or shapes differ, in which case the first difference in the network's order is
            named; or a value is not finite.
    """
    network_state = network.state_dict()
    state = _rename(file.tensors, network_state)
    head = _find_replaced_head(network, state)
    if head is not None:
        state |= {
            name: value for name, value in network_state.items() if name.rpartition(".")[0] == head.name
        }
    _check_names(file.place, state, network_state)
    for name, value in state.items():
        if value.is_floating_point() and not value.is_meta and not value.float().isfinite().all():
            raise ValueError(f"{file.place}: {_short(name)} is not finite")
    if head is None:
        return state, None
    return state, ReplacedHead(_short(head.name), head.file_classes, head.classes)


def reading_remarks(network: Network, file: WeightsFile) -> tuple[str, ...]:
    """One line on how a file is read: under which key, without which prefix, with whose names."""
    key = [f"the tensors of its key {file.key}"] if file.key else []
    words = best_naming(file.tensors, network.state_dict()).words()
    if not key and not words:
        return ()
    return (", ".join(["reads " + (key[0] if key else "its tensors"), *([words] if words else [])]),)


def _rename(tensors: Mapping[str, Tensor], network_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors to the network's names where possible; drop auxiliary heads and counters."""
    prefix = PREFIX if all(name.startswith(PREFIX) for name in network_state) else ""
    state = best_naming(tensors, network_state).tensors
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        for pattern, replacement in _EARLIER_NAMES:
            name = pattern.sub(replacement, name) if prefix + name not in network_state else name
        is_extra = name.startswith(AUXILIARY_HEADS) or name == COUNTER
        if prefix + name in network_state or not is_extra:
            renamed[prefix + name] = value
    for name, value in network_state.items():
        if name.endswith("num_batches_tracked"):
            renamed.setdefault(name, value)  # files older than these counters are complete without them
    return renamed


def _find_replaced_head(network: Network, state: Mapping[str, Tensor]) -> ReplacedHead | None:
    """The head, if the file's and the network's differ only in the class count."""
    head = last_linear(network)
    if head is None or f"{head[0]}.weight" not in state:
        return None
    name, linear = head
    file_shape, shape = state[f"{name}.weight"].shape, linear.weight.shape
    if len(file_shape) != 2 or file_shape[0] == shape[0] or file_shape[1:] != shape[1:]:
        return None
    return ReplacedHead(name, file_shape[0], shape[0])


def _check_names(place: str, state: Mapping[str, Tensor], network_state: Mapping[str, Tensor]) -> None:
    missing = [name for name in network_state if name not in state]
    unexpected = sorted(name for name in state if name not in network_state)
    if not any(name in state for name in network_state if not name.endswith("num_batches_tracked")):
        raise ValueError(
            f"{place} holds {_join_some(unexpected) or 'nothing'} and none of this network's tensors,"
            f" which are {_join_some(missing)}"
        )
    for name, value in network_state.items():
        if name in missing:
            raise ValueError(f"{place} lacks {_join_some(missing)}")
        if value.shape != state[name].shape:
            raise ValueError(
                f"{place}: {_short(name)} has shape {list(state[name].shape)}"
                f" where this network needs {list(value.shape)}"
            )
    if unexpected:
        raise ValueError(f"{place} holds {_join_some(unexpected)}, which this network does not have")


def _short(name: str) -> str:
    """A tensor's name without lpstudy's prefix, short enough for a line."""
    short = name.removeprefix(PREFIX)
    return printable(short if len(short) <= 80 else f"{short[:80]}...")


def _join_some(names: list[str]) -> str:
    """A few names of a list that may be long."""
    few = ", ".join(_short(name) for name in names[:5])
    return few if len(names) <= 5 else f"{few} and {len(names) - 5} more"
