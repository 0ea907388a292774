"""Weights from a file into a network, whatever prefix their names have."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from lpstudy.outputs import Network
from lpstudy.students.layers import last_linear
from lpstudy.students.weights_file import WeightsFile, read_weights
from lpstudy.terminal import printable

PREFIX = "network."
"""What stands before torchvision's own names in a network that wraps one of its models."""
AUXILIARY_HEADS = ("aux1.", "aux2.", "AuxLogits.")
"""Of GoogLeNet and Inception v3: they only helped to train the published weights."""
WRAPPERS = ("module", "_orig_mod")
"""Parts of names that DataParallel, AveragedModel and torch.compile add."""
COUNTER = "n_averaged"
"""Of AveragedModel: how many steps it has averaged."""
_FORMER = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_2\."), r"\1.3."),
)
"""Names in torchvision's published files that its models have renamed since (DenseNet, ViT)."""


@dataclass(frozen=True, slots=True)
class ReplacedHead:
    """A last linear layer that did not come from the file, for it has another number of classes there."""

    name: str
    file_classes: int
    classes: int

    def __str__(self) -> str:
        differs = f"the file has {self.file_classes} classes, the data {self.classes}"
        return f"{differs}: the last layer ({self.name}) is new"


def load_weights(network: Network, place: str | Path) -> ReplacedHead | None:
    """Fill a network from a safetensors file; see `fit_weights`. Returns the head that stays as initialised.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no safetensors file, or does not fit the network.
    """
    state, head = fit_weights(network, read_weights(place))
    load_state(network, state)
    return head


def load_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put tensors into a network of the very same names and shapes.

    Some models of torchvision (MNASNet, ViT) ask for the version of what they load, which no file has.
    """
    versioned = OrderedDict(state)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]  # torch's own way
    network.load_state_dict(versioned)


def fit_weights(network: Network, file: WeightsFile) -> tuple[dict[str, Tensor], ReplacedHead | None]:
    """A file's tensors by the network's names, all of them and no other.

    Names may be the network's own, those of the torchvision model that it wraps, or either below `module.`,
    `_orig_mod.` or any other prefix that all share. A head (the last linear layer) of another class count
    gives way to the network's own.

    Args:
        network: May be on the meta device: nothing is put into it.
        file: The weights.

    Raises:
        ValueError: Names or shapes differ, in which case the first difference in the network's order is
            named; or a value is not finite.
    """
    own = network.state_dict()
    state = _by_own_names(file.tensors, own)
    head = _other_head(network, state)
    if head is not None:
        state |= {name: value for name, value in own.items() if name.rpartition(".")[0] == head.name}
    _check_names(file.place, state, own)
    for name, value in state.items():
        if value.is_floating_point() and not value.is_meta and not value.float().isfinite().all():
            raise ValueError(f"{file.place}: {_short(name)} is not finite")
    if head is None:
        return state, None
    return state, ReplacedHead(_short(head.name), head.file_classes, head.classes)


def _by_own_names(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the network's names as far as these are found, less auxiliary heads and counters."""
    prefix = PREFIX if all(name.startswith(PREFIX) for name in own) else ""
    state = max(_unwrapped(tensors), key=lambda names: sum(prefix + name in own for name in names))
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        for pattern, now in _FORMER:
            name = pattern.sub(now, name) if prefix + name not in own else name
        is_extra = name.startswith(AUXILIARY_HEADS) or name == COUNTER
        if prefix + name in own or not is_extra:
            found[prefix + name] = value
    for name, value in own.items():
        if name.endswith("num_batches_tracked"):
            found.setdefault(name, value)  # files older than these counters are complete without them
    return found


def _unwrapped(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The tensors by their names: as they are, without wrappers, then without each prefix that all share."""
    bare = {".".join(part for part in name.split(".") if part not in WRAPPERS): name for name in tensors}
    forms = [dict(tensors), {short: tensors[name] for short, name in bare.items()}]
    while len(prefixes := {name.partition(".")[0] for name in forms[-1] if name != COUNTER}) == 1:
        (first,) = prefixes
        shorter = {name.removeprefix(f"{first}."): value for name, value in forms[-1].items()}
        if shorter.keys() == forms[-1].keys():
            break
        forms.append(shorter)
    return forms


def _other_head(network: Network, state: Mapping[str, Tensor]) -> ReplacedHead | None:
    """The head, if the file's differs from the network's in nothing but the class count."""
    head = last_linear(network)
    if head is None or f"{head[0]}.weight" not in state:
        return None
    name, linear = head
    has, needed = state[f"{name}.weight"].shape, linear.weight.shape
    if len(has) != 2 or has[0] == needed[0] or has[1:] != needed[1:]:
        return None
    return ReplacedHead(name, has[0], needed[0])


def _check_names(place: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    missing = [name for name in own if name not in state]
    unexpected = sorted(name for name in state if name not in own)
    if not any(name in state for name in own if not name.endswith("num_batches_tracked")):
        raise ValueError(
            f"{place} holds {_some(unexpected) or 'nothing'} and none of this network's tensors,"
            f" which are {_some(missing)}"
        )
    for name, value in own.items():
        if name in missing:
            raise ValueError(f"{place} lacks {_some(missing)}")
        if value.shape != state[name].shape:
            raise ValueError(
                f"{place}: {_short(name)} has shape {list(state[name].shape)}"
                f" where this network needs {list(value.shape)}"
            )
    if unexpected:
        raise ValueError(f"{place} holds {_some(unexpected)}, which this network does not have")


def _short(name: str) -> str:
    """A tensor's name without what lpstudy adds, fit for a line."""
    bare = name.removeprefix(PREFIX)
    return printable(bare if len(bare) <= 80 else f"{bare[:80]}...")


def _some(names: list[str]) -> str:
    """A few names of a list that may be long."""
    shown = ", ".join(_short(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
