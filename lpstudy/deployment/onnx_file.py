"""A network as an ONNX file, and the sessions of onnxruntime that compute it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lpstudy.one_line import first_line
from lpstudy.outputs import Network, Outputs

INPUT, OUTPUT = "images", "logits"
"""Names of the input, shape (batch, channels, height, width), and of the output, shape (batch, classes)."""
BATCH = "batch"
"""Name of the dynamic dimension."""
_TRACED_IMAGES = 2
"""Images in the exporter's example: a single one would make the dimension constant."""


class FileProblemError(ValueError):
    """A network cannot become a file of some kind; one line says why."""


class LogitsOnly(nn.Module):
    """A network's logits alone, as a tensor.

    Args:
        model: Gives logits, or `Outputs`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (m, classes), of images of shape (m, channels, height, width)."""
        result = self.model(images)
        logits: Tensor = result.logits if isinstance(result, Outputs) else result
        return logits


def logits_of(model: nn.Module) -> nn.Module:
    """The module itself, or `LogitsOnly` of a `Network`."""
    return LogitsOnly(model) if isinstance(model, Network) else model


def write_onnx(model: nn.Module, input_shape: tuple[int, int, int], path: Path) -> None:
    """Write a module in evaluation mode as one ONNX file of the exporter's own opset.

    Its input is named `images`, its output `logits`; the first dimension of both is dynamic. It names no
    source file of this machine.

    Args:
        model: Gives logits or `Outputs`, of float32 images; its device does not matter. Its weights stay as
            they are.
        input_shape: (channels, height, width) of an image.
        path: The file; replaced if it exists.

    Raises:
        ValueError: The packages of `lpstudy[deploy]` are not installed.
        FileProblemError: The exporter cannot express the network.
    """
    check_packages()
    import onnx

    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    example = torch.rand(_TRACED_IMAGES, *input_shape, device=device)
    with _silent(), export_errors():
        program = torch.onnx.export(
            logits_of(model).eval(),
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise FileProblemError("torch's exporter gave no ONNX program")
    proto = program.model_proto
    _remove_traces(proto)
    onnx.save_model(proto, path)


def check_packages() -> None:
    """Refuse to continue without the packages of ONNX.

    Raises:
        ValueError: One of them is not installed; one line that says how to install it.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript
    except ModuleNotFoundError as error:
        raise ValueError(
            f"ONNX files need the package {error.name}, which is not installed: pip install 'lpstudy[deploy]'"
        ) from None
    del onnx, onnxruntime, onnxscript


def open_session(path: Path, *, threads: int | None = None, provider: str = "CPUExecutionProvider") -> Any:
    """An `onnxruntime.InferenceSession` of a file; `threads` None: as many as onnxruntime takes by itself.

    Raises:
        ValueError: onnxruntime is not installed.
    """
    check_packages()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=[provider])


@contextmanager
def export_errors() -> Iterator[None]:
    """A context in which an error of torch's exporters becomes a FileProblemError."""
    try:
        yield
    except Exception as error:  # of any kind: a network's own code runs in them
        raise FileProblemError(f"torch cannot export the network: {first_line(error, 200)}") from error


def _remove_traces(model: Any) -> None:
    """Remove the exporter's notes on the source of each node, which name files of this machine."""
    for owner in (model.graph, *model.functions):
        owner.ClearField("metadata_props")
        for node in owner.node:
            node.ClearField("metadata_props")
        for value in owner.value_info:
            value.ClearField("metadata_props")
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.ClearField("metadata_props")


@contextmanager
def _silent() -> Iterator[None]:
    """A context without the exporter's warnings and log lines, which speak of its own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
