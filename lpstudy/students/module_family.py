"""The family `module`: networks that functions of imported code make, as `design = "module:name"`."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lpstudy.imported_names import is_reference, module_of, resolve
from lpstudy.one_line import one_line
from lpstudy.outputs import Network
from lpstudy.students.module_net import Shape, as_network
from lpstudy.user_lines import user_line

MODULE = "module"
"""The family's name."""
Sizes = dict[str, int]


def check_module(design: str | None, sizes: Sizes) -> None:
    """Refuse a design that names no function, or one that does not take these sizes.

    Where a stored study declares the code, which is not imported, nothing is known of the function.

    Args:
        design: `module:name`.
        sizes: The given ones of depth and width.

    Raises:
        ValueError: One line.
    """
    if design is None or not is_reference(design):
        but = "" if design is None else f" but got {design!r:.80}"
        raise ValueError(f'family module needs design = "module:name", a function of a file of --import{but}')
    if module_of(design).is_loaded:
        _check_sizes(design, _function(design), sizes)


def build_module(
    design: str, sizes: Sizes, layers: tuple[str, ...] | None, *, input_shape: Shape, classes: int
) -> Network:
    """The network that a function of imported code makes, on the default device: see `ModuleNet`.

    Raises:
        ValueError: One line: the function fails, or what it makes is no such network.
    """
    function = _function(design)
    _check_sizes(design, function, sizes)

    def make() -> nn.Module:
        module = function(input_shape, classes, **sizes)
        if not isinstance(module, nn.Module):
            raise ValueError(f"must return an nn.Module but returned {type(module).__name__}")
        return module

    try:
        module = _make_without_weights(make) if torch.get_default_device().type == "meta" else make()
    except Exception as error:  # of any kind: it may be that of one's own code
        raise ValueError(f"{design} failed: {_reason(error)}") from error
    try:
        return as_network(module, input_shape=input_shape, classes=classes, layers=layers, make=make)
    except ValueError as error:
        raise ValueError(f"{design}: {error}") from error


def module_label(design: str) -> str:
    """The design in [a-z0-9_-] alone: my_nets-small."""
    return design.replace(":", "-").replace(".", "-").lower()


def _make_without_weights(make: Callable[[], nn.Module]) -> nn.Module:
    """The module on the meta device; code that reads tensors' values runs on the CPU first."""
    try:
        return make()
    except Exception:  # of any kind: own code that reads values, which the meta device has not
        with torch.device("cpu"):
            return make().to("meta")


def _function(design: str) -> Callable[..., Any]:
    function = resolve(design)
    if isinstance(function, nn.Module) or not callable(function):
        raise ValueError(
            f"{design} is {type(function).__name__}: must be a function (input_shape, classes) -> nn.Module"
        )
    return function


def _check_sizes(design: str, function: Callable[..., Any], sizes: Sizes) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of a function that is not written in Python
        return
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    for key in sizes:
        if key not in kinds and inspect.Parameter.VAR_KEYWORD not in kinds.values():
            raise ValueError(f"{key}: {design}{signature} takes no {key}")
    try:
        signature.bind((3, 32, 32), 10, **sizes)
    except TypeError as error:
        raise ValueError(
            f"{design}{signature}: called with (input_shape, classes), {one_line(error)}"
        ) from None


def _reason(error: Exception) -> str:
    place = user_line(error)
    message = (
        one_line(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {one_line(error)}"
    )
    return f"{place}: {message}" if place else message
