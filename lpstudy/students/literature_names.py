"""The names that the distillation literature's code gives the parameters of networks that lpstudy has too.

Source: models/ of https://github.com/HobbitLong/RepDistiller, whose names https://github.com/megvii-research/mdistiller
and other repositories of the field share.
"""

import re
from collections.abc import Callable

from lpstudy.students import mobilenetv2

Renaming = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
"""A pattern of the literature's names, and what takes its place in lpstudy's."""


def _vgg_layer(match: re.Match[str]) -> str:
    """Layers of a block count convolution, normalisation and ReLU; its pool lies outside."""
    block, layer = int(match[1]), int(match[2])
    return f"layers.group{block + 1}.{('conv', 'norm')[layer % 3]}{layer // 3 + 1}."


_MOBILENET_STAGES = [
    f"layers.group{number}.{position}."
    for number, group in enumerate(mobilenetv2.GROUPS, start=1)
    for position in range(len(group))
]
_MOBILENET_LAYERS = {
    "0": "expand.conv",
    "1": "expand.norm",
    "3": "depthwise.conv",
    "4": "depthwise.norm",
    "6": "project.conv",
    "7": "project.norm",
}


def _mobilenet_layer(match: re.Match[str]) -> str:
    return f"{_MOBILENET_STAGES[int(match[1])]}{match[2]}.{_MOBILENET_LAYERS[match[3]]}."


def _shufflenet_layer(match: re.Match[str]) -> str:
    """A unit of stride 2 counts the layers of its shortcut first, then those of its main branch."""
    layer = int(match[4]) - 1
    branch = "main"
    if match[2] == "0":
        branch, layer = ("shortcut", layer) if layer < 2 else ("main", layer - 2)
    return f"layers.group{match[1]}.{match[2]}.{branch}.{layer}.{_PARTS[match[3]]}."


_PARTS = {"conv": "conv", "bn": "norm"}


def _table(*rows: tuple[str, str | Callable[[re.Match[str]], str]]) -> tuple[Renaming, ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rows)


_STEM = ((r"^conv1\.", "layers.stem.conv."), (r"^bn1\.", "layers.stem.norm."))
_CLASSIFIER = (r"^(?:fc|linear)\.", "classifier.")

LITERATURE_NAMES: dict[str, tuple[Renaming, ...]] = {
    "resnet": _table(
        *_STEM,
        (r"^layer(\d)\.(\d+)\.conv(\d)\.", r"layers.group\1.\2.conv\3."),
        (r"^layer(\d)\.(\d+)\.bn(\d)\.", r"layers.group\1.\2.norm\3."),
        (r"^layer(\d)\.(\d+)\.(?:downsample|shortcut)\.0\.", r"layers.group\1.\2.shortcut.conv."),
        (r"^layer(\d)\.(\d+)\.(?:downsample|shortcut)\.1\.", r"layers.group\1.\2.shortcut.norm."),
        _CLASSIFIER,
    ),
    "wrn": _table(
        (r"^conv1\.", "layers.stem."),
        (r"^bn1\.", "norm."),
        (r"^block(\d)\.layer\.(\d+)\.conv(\d)\.", r"layers.group\1.\2.conv\3."),
        (r"^block(\d)\.layer\.(\d+)\.bn(\d)\.", r"layers.group\1.\2.norm\3."),
        (r"^block(\d)\.layer\.(\d+)\.convShortcut\.", r"layers.group\1.\2.shortcut."),
        _CLASSIFIER,
    ),
    "vgg": _table((r"^block([0-4])\.(\d+)\.", _vgg_layer)),
    "mobilenetv2": _table(
        (r"^conv1\.0\.", "layers.stem.conv."),
        (r"^conv1\.1\.", "layers.stem.norm."),
        (r"^blocks\.([0-6])\.(\d+)\.conv\.([013467])\.", _mobilenet_layer),
        (r"^conv2\.0\.", "layers.head.conv."),
        (r"^conv2\.1\.", "layers.head.norm."),
        (r"^classifier\.0\.", "classifier."),
    ),
    "shufflenetv1": _table(
        *_STEM,
        (r"^layer(\d)\.(\d+)\.conv(\d)\.", r"layers.group\1.\2.conv\3.conv."),
        (r"^layer(\d)\.(\d+)\.bn(\d)\.", r"layers.group\1.\2.conv\3.norm."),
        _CLASSIFIER,
    ),
    "shufflenetv2": _table(
        *_STEM,
        (r"^conv2\.", "layers.head.conv."),
        (r"^bn2\.", "layers.head.norm."),
        (r"^layer(\d)\.(\d+)\.(conv|bn)([1-5])\.", _shufflenet_layer),
        _CLASSIFIER,
    ),
}
"""Renamings of each kind of network, of which each applies to every name."""


def rename(name: str, table: tuple[Renaming, ...]) -> str:
    """Lpstudy's name for one of the literature's; a name that no pattern has stays."""
    for pattern, replacement in table:
        name = pattern.sub(replacement, name)
    return name
