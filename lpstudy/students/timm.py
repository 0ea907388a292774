"""Any classification model of timm that ends in a linear layer; nothing is ever downloaded."""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lpstudy.one_line import one_line
from lpstudy.outputs import Network, Outputs
from lpstudy.students.layers import check_maps
from lpstudy.students.pooled_net import averaged_map

_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What timm's models raise where they cannot take images of a size."""
MAP = "feature"
"""The maps' names are this word and timm's index of the feature map, from 0."""


class TimmNet(Network):
    """A model of timm with random weights.

    The embedding is what its head gives to the classifier; the maps `feature0`, `feature1`, ... are timm's
    intermediate features with the channels second, from the input to the head.

    Args:
        name: A name of `timm.list_models()`, or one with the tag of weights, which changes nothing here.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.

    Raises:
        ValueError: The model has no linear classifier or no such maps, or cannot take such images.
    """

    def __init__(self, name: str, *, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.map_names = _map_names(name, input_shape, classes)
        self.middle = self.map_names[len(self.map_names) // 2]
        self.network: Any = _model(name, input_shape, classes)
        self._name, self._input_shape = name, input_shape

    @property
    def pooled(self) -> str | None:
        """The first map whose average over positions is the embedding, found by one image."""
        return _pooled(self._name, self._input_shape)

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        """Outputs for images of shape (m, channels, height, width)."""
        check_maps(maps, self.map_names)
        selected_maps: dict[str, Tensor] = {}
        if maps:
            # All of them: asked for a few, some models stop at the last of these.
            features, values = self.network.forward_intermediates(images, output_fmt="NCHW")
            selected_maps = {name: values[int(name.removeprefix(MAP))] for name in maps}
        else:
            features = self.network.forward_features(images)
        embedding = self.network.forward_head(features, pre_logits=True)
        logits = self.network.get_classifier()(embedding)
        return Outputs(logits, embedding, selected_maps)


@dataclass(frozen=True, slots=True)
class PretrainedInput:
    """The images on which timm's weights of a name were trained."""

    name: str
    """The name with the tag of the weights."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Mean and standard deviation of each of three channels, for pixels in 0..1."""
    height: int
    width: int
    interpolation: Literal["bilinear", "bicubic"]


def pretrained_input(name: str) -> PretrainedInput:
    """The images of the weights that a name stands for, by timm's own list, without loading weights."""
    import timm

    config = timm.get_pretrained_cfg(name)
    architecture = name.partition(".")[0]
    return PretrainedInput(
        name=f"{architecture}.{config.tag}" if config.tag else architecture,
        mean=tuple(config.mean),
        std=tuple(config.std),
        height=config.input_size[1],
        width=config.input_size[2],
        interpolation="bilinear" if config.interpolation == "bilinear" else "bicubic",
    )


def check_timm(design: str) -> None:
    """Refuse a design that timm does not have.

    Raises:
        ValueError: timm is not installed, or has no model or weights of this name.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ValueError(
            "family timm needs the package timm, which is not installed: pip install 'lpstudy[timm]'"
        ) from error
    architecture, _, tag = design.partition(".")
    # Only names of timm's own registry: create_model would download what hf-hub:... names.
    if timm.is_model(architecture) and (not tag or design in timm.list_pretrained(f"{architecture}.*")):
        return
    names = timm.list_pretrained(f"{architecture}.*") if tag and timm.is_model(architecture) else []
    matches = get_close_matches(design, names or timm.list_models(), n=5)
    hint = f"did you mean {', '.join(matches)}" if matches else "timm.list_models() has their names"
    raise ValueError(f"unknown timm design {design!r:.100}: {hint}")


def _model(name: str, input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The model as timm initialises it, for the image size where its weights depend on it."""
    import timm

    channels, *size = input_shape
    options: dict[str, object] = {"pretrained": False, "num_classes": classes, "in_chans": channels}
    config = timm.get_pretrained_cfg(name)
    if config.fixed_input_size and tuple(size) != tuple(config.input_size[1:]):
        options["img_size"] = tuple(size)
    model: nn.Module = timm.create_model(name, **options)
    return model


@cache
def _map_names(name: str, input_shape: tuple[int, int, int], classes: int) -> tuple[str, ...]:
    """The names of the maps; refuses a model that cannot give what a `Network` gives."""
    try:
        with torch.device("meta"):
            model: Any = _model(name, input_shape, classes).eval()
            images = torch.empty(1, *input_shape)
            features, maps = model.forward_intermediates(images, output_fmt="NCHW")
            embedding = model.forward_head(features, pre_logits=True)
            is_linear = _ends_in(model.get_classifier(), model, images)
    except _FAULTS as error:
        size = f"{input_shape[1]}x{input_shape[2]}"
        raise ValueError(f"{name} cannot take images of {size} pixels: {one_line(error)}") from error
    if not is_linear or embedding.dim() != 2:
        raise ValueError(f"{name} has no linear classifier and so no embedding: choose another design")
    names = tuple(f"{MAP}{index}" for index, value in enumerate(maps) if value.dim() == 4)
    if not names:
        raise ValueError(f"{name} gives no maps: choose another design")
    return names


def _ends_in(classifier: object, model: nn.Module, images: Tensor) -> bool:
    """Whether a model's output is that of one linear layer; some average two, or add to it."""
    if not isinstance(classifier, nn.Linear):
        return False
    outputs: list[Tensor] = []
    handle = classifier.register_forward_hook(lambda _, __, output: outputs.append(output))
    logits = model(images)
    handle.remove()
    return len(outputs) == 1 and outputs[0] is logits


@cache
def _pooled(name: str, input_shape: tuple[int, int, int]) -> str | None:
    return averaged_map(lambda: TimmNet(name, input_shape=input_shape, classes=2), input_shape)
