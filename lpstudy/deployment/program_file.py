"""A network as a file of torch.export, which torch runs without this package."""

import warnings
from pathlib import Path

import torch
from torch import nn

from lpstudy.deployment.onnx_file import BATCH, export_errors, logits_of


def write_program(model: nn.Module, input_shape: tuple[int, int, int], path: Path) -> None:
    """Write a module in evaluation mode as a program of torch.export with a dynamic first dimension.

    The file has neither the example's images, which torch would pickle, nor the names of source files.

    Args:
        model: On the CPU; gives logits or `Outputs`, of float32 images.
        input_shape: (channels, height, width) of an image.
        path: The file, ending in .pt2; replaced if it exists.

    Raises:
        FileProblemError: torch cannot express the network.
    """
    with warnings.catch_warnings(), export_errors():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            logits_of(model).eval(),
            (torch.rand(2, *input_shape),),
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
        )
    program.example_inputs = None
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
    torch.export.save(program, path)


def load_program(path: Path) -> nn.Module:
    """The module of a file that `write_program` has just written: torch reads its own program from it."""
    module: nn.Module = torch.export.load(path).module()
    return module
