"""Stems for small images: torchvision's models with a first convolution of 3x3 and stride 1, and no pool."""

import re
from dataclasses import dataclass
from typing import Literal

from torch import nn

Fan = Literal["fan_in", "fan_out"]


@dataclass(frozen=True, slots=True)
class Stem:
    """Where the stem of a kind of torchvision's models is."""

    designs: re.Pattern[str]
    conv: str
    """The first convolution."""
    pool: str | None = None
    """The max pool after it; None without one."""
    fan: Fan = "fan_out"
    """The fan of its initial weights, where its kernel changes."""


STEMS = (
    Stem(re.compile(r"(wide_)?resne(x)?t\d"), "conv1", "maxpool"),
    Stem(re.compile("densenet"), "features.conv0", "features.pool0", "fan_in"),
    Stem(re.compile("shufflenet_v2"), "conv1.0", "maxpool"),
    Stem(re.compile("mobilenet_v|efficientnet"), "features.0.0"),
    Stem(re.compile("regnet"), "stem.0"),
    Stem(re.compile("mnasnet"), "layers.0"),
)
"""The models in which another stem makes sense: those of patches have none, VGG's has stride 1 already."""


def stem_of(design: str) -> Stem:
    """The stem of one of torchvision's models.

    Raises:
        ValueError: It has none that a small one can replace.
    """
    for stem in STEMS:
        if stem.designs.match(design):
            return stem
    raise ValueError(
        f'stem = "small" is for ResNet, ResNeXt, DenseNet, ShuffleNet, MobileNet, MNASNet, EfficientNet and'
        f" RegNet, not for {design}"
    )


def has_small_stem(design: str) -> bool:
    """Whether `stem = "small"` is for one of torchvision's models."""
    return any(stem.designs.match(design) for stem in STEMS)


def shrink_stem(model: nn.Module, design: str) -> None:
    """Give a model of torchvision a first convolution of 3x3 with stride 1, and no max pool after it.

    Weights of a 3x3 convolution stay; those of a new one are drawn as the model draws its own.

    Raises:
        ValueError: The model has no stem that a small one can replace.
    """
    stem = stem_of(design)
    conv = model.get_submodule(stem.conv)
    assert isinstance(conv, nn.Conv2d)
    conv.stride = (1, 1)
    if conv.kernel_size != (3, 3):
        conv = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode=stem.fan, nonlinearity="relu")
        model.set_submodule(stem.conv, conv)
    if stem.pool is not None:
        model.set_submodule(stem.pool, nn.Identity())
