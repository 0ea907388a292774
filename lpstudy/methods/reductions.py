"""Reductions of the teacher's maps: where a method needs less than a map, the bank keeps only that.

`Needs(maps=(reduced("conv2", "attention"),))` asks for the attention map of the teacher's conv2; the
loss reads `step.teacher.maps[reduced("conv2", "attention")]`. What the bank keeps is what the teacher
gives online, but for the rounding of the bank's number format.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from lpstudy.methods.loss import full_precision
from lpstudy.methods.method import SEPARATOR, layer_name
from lpstudy.outputs import Network, Outputs

Reduction = Callable[[Tensor], Tensor]
"""A pure function of maps, shape (m, channels, height, width), sample by sample; float32 in and out."""


def attention(maps: Tensor) -> Tensor:
    """Each sample's mean of squares over channels, scaled to length 1: (m, channels, h, w) to (m, h, w).

    Source: Zagoruyko and Komodakis, arXiv 1612.03928, section 3.1.
    """
    return of_length_1(maps.square().mean(dim=1))


def of_length_1(values: Tensor) -> Tensor:
    """Each sample's values divided by the root of the sum of their squares, shape (m, ...); zeros stay."""
    return functional.normalize(values.flatten(1)).view_as(values)


def pool2(maps: Tensor) -> Tensor:
    """Means of 2 x 2 places, a last odd row or column left out: (m, c, h, w) to (m, c, h // 2, w // 2)."""
    return functional.avg_pool2d(maps, 2)


def channel_means(maps: Tensor) -> Tensor:
    """Means over places: (m, channels, h, w) to (m, channels)."""
    return maps.mean(dim=(2, 3))


BUILT_IN: dict[str, Reduction] = {"attention": attention, "pool2": pool2, "channel_means": channel_means}
REDUCTIONS: dict[str, Reduction] = dict(BUILT_IN)
"""All reductions by name."""
CODE: dict[str, str] = {}
"""SHA-256 of the imported code that registers each reduction: the bank keeps no other version's values."""


def register_reduction(name: str, function: Reduction) -> None:
    """Add a reduction for `reduced`.

    Raises:
        ValueError: The name is taken, or not of letters, digits and _.
    """
    if not name.isidentifier() or not name.isascii():
        raise ValueError(f"reduction {name!r}: must be letters, digits and _")
    if REDUCTIONS.get(name, function) is not function:
        raise ValueError(f"the reduction {name!r} exists already; choose another name")
    REDUCTIONS[name] = function


def reduced(layer: str, reduction: str) -> str:
    """The name of a reduced map, for `Needs.maps` and `step.teacher.maps`.

    Args:
        layer: A map of the teacher.
        reduction: `attention`, `pool2`, `channel_means`, or one that `register_reduction` added.

    Raises:
        ValueError: There is no such reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; known are {', '.join(REDUCTIONS)}")
    version = f"-{CODE[reduction][:16]}" if reduction in CODE else ""
    return f"{layer}{SEPARATOR}{reduction}{version}"


def layer_names(maps: tuple[str, ...]) -> tuple[str, ...]:
    """The network's maps that names of `Needs.maps` are read from, each once."""
    return tuple(dict.fromkeys(map(layer_name, maps)))


def reduce_maps(outputs: Outputs, maps: tuple[str, ...]) -> Outputs:
    """The outputs with maps as `Needs.maps` names them, reduced where it says so.

    Args:
        outputs: With the maps of `layer_names`.
        maps: The names.
    """
    return Outputs(outputs.logits, outputs.embedding, {name: _reduce(name, outputs) for name in maps})


def teacher_outputs(network: Network, images: Tensor, maps: tuple[str, ...]) -> Outputs:
    """The teacher's outputs for images, with maps as `Needs.maps` names them.

    Raises:
        ValueError: The network has no map of a name.
    """
    outputs: Outputs = network(images, layer_names(maps))
    return reduce_maps(outputs, maps)


def _reduce(name: str, outputs: Outputs) -> Tensor:
    layer, _, version = name.partition(SEPARATOR)
    if not version:
        return outputs.maps[layer]
    return REDUCTIONS[version.partition("-")[0]](full_precision(outputs.maps[layer]))
