"""Outputs, embedding and maps of a model that only returns its logits, by hooks on its submodules."""

from collections.abc import Callable
from contextlib import ExitStack

from torch import Tensor, nn

from lpstudy.outputs import Outputs


def outputs_by_hooks(model: nn.Module, images: Tensor, *, head: str, maps: tuple[str, ...]) -> Outputs:
    """Run a model once: its logits, the input of its last linear layer, and outputs of its submodules.

    Args:
        model: Returns its logits.
        images: Shape (m, channels, height, width).
        head: The name of the submodule whose input is the embedding.
        maps: The names of the submodules whose outputs are the maps.
    """
    embeddings: list[Tensor] = []
    selected_maps: dict[str, Tensor] = {}

    def store_input(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        embeddings.append(inputs[0])

    with ExitStack() as hooks:
        hooks.enter_context(model.get_submodule(head).register_forward_pre_hook(store_input))
        for name in maps:
            submodule = model.get_submodule(name)
            hooks.enter_context(submodule.register_forward_hook(_storing_hook(selected_maps, name)))
        logits = model(images)
    return Outputs(logits, embeddings[-1], {name: selected_maps[name] for name in maps})


def _storing_hook(selected_maps: dict[str, Tensor], name: str) -> Callable[[nn.Module, object, Tensor], None]:
    """A forward hook that stores a copy of the output, for the next layer may overwrite it."""

    def store(_: nn.Module, __: object, output: Tensor) -> None:
        selected_maps[name] = output.clone()

    return store


def middle_map(model: nn.Module, names: tuple[str, ...]) -> str:
    """The middle map among the submodules with matrix weights; without any, the first map."""
    names = maps_with_weights(model, names) or names[:1]
    return names[len(names) // 2]


def maps_with_weights(model: nn.Module, names: tuple[str, ...]) -> tuple[str, ...]:
    """The submodules with matrix weights: no normalisation, ReLU or pool."""
    return tuple(
        name for name in names if any(weight.dim() > 1 for weight in model.get_submodule(name).parameters())
    )
