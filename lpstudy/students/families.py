"""Families of networks of imported code, by name; the built-in ones are in `lpstudy.students.build`."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from lpstudy.imported_names import resolve

if TYPE_CHECKING:
    from lpstudy.outputs import Network

BUILT_IN = (
    "maxout",
    "convnet",
    "wrn",
    "resnet",
    "resnet50_small",
    "vgg",
    "mobilenetv2",
    "shufflenetv1",
    "shufflenetv2",
    "torchvision",
    "timm",
    "module",
)
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
Builder = Callable[..., "Network"]
"""Called with a `StudentSpec`, and by keyword `input_shape` and `classes`; see `register_family`."""
FAMILIES: dict[str, Builder] = {}
"""The function of each family of imported code."""
CODE: dict[str, str] = {}
"""SHA-256 of the imported code that registers each family."""


def register_family(name: str, builder: Builder) -> None:
    """Add a family of networks, for `family = "name"` in a study file.

    Args:
        name: 1 to 32 of [a-z0-9_], the first a letter.
        builder: `builder(spec, input_shape=..., classes=...)` returns a `lpstudy.outputs.Network` for images
            of shape `input_shape` = (channels, height, width). `spec` is a `StudentSpec`, whose `design`,
            `depth` and `width` are None where the study file has none. The caller seeds torch's generator,
            from which the weights are drawn. A size that the family has not raises a ValueError of one line.

    Raises:
        ValueError: The name is taken, or not such a name.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"family {name!r}: must be a letter and at most 31 more of a-z, 0-9 and _")
    is_free = name not in family_names() or isinstance(FAMILIES.get(name), _StandIn)
    if not is_free and FAMILIES.get(name) is not builder:
        raise ValueError(f"the family {name!r} exists already; choose another name")
    FAMILIES[name] = builder


def declare_family(name: str) -> None:
    """Let study files name a family whose code is not imported; its networks cannot be built."""
    if name not in family_names():
        FAMILIES[name] = _StandIn(name)


def check_code(name: str, design: object) -> None:
    """Refuse a network whose code is not imported.

    Args:
        name: The family.
        design: `module:name`, for the family `module`.

    Raises:
        ValueError: It is not.
    """
    if name == "module":
        resolve(str(design))
    if isinstance(builder := FAMILIES.get(name), _StandIn):
        builder.refuse()


class _StandIn:
    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, spec: object, **shape: object) -> NoReturn:
        self.refuse()

    def refuse(self) -> NoReturn:
        """Raise the error of code that is not imported."""
        raise ValueError(f"the code of family {self._name!r} is not imported: give --import FILE")


def family_names() -> tuple[str, ...]:
    """The names of all families."""
    return (*BUILT_IN, *FAMILIES)


def add_family_names(schema: dict[str, Any]) -> None:
    """Add the names of all families to the JSON schema of a field."""
    schema["enum"] = list(family_names())
