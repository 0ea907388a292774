"""Static quantisation of an ONNX file by onnxruntime: int8 weights and activations, calibrated on images."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lpstudy.deployment.onnx_file import INPUT, FileProblemError, check_packages
from lpstudy.one_line import first_line

COMPUTING = ("Conv", "Gemm", "MatMul")
"""Operators whose first one ends the normalisation of the images."""
CALIBRATION_IMAGES = 512
"""Images by which the ranges of activations are measured."""


def write_int8(source: Path, target: Path, batches: Iterable[npt.NDArray[np.float32]]) -> None:
    """Quantise an ONNX file: QDQ, int8, weights by channel, ranges by the extremes of the images.

    The normalisation of the images stays in float32.

    Args:
        source: The float file.
        target: The int8 file; replaced if it exists.
        batches: Training images in 0..1, shape (m, channels, height, width).

    Raises:
        FileProblemError: onnxruntime cannot quantise it, or finds nothing to quantise.
    """
    check_packages()
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix=".int8-", dir=target.parent) as folder, _silent():
        prepared = Path(folder) / "prepared.onnx"
        try:
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(target),
                _images(batches),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_normalisation(onnx.load(prepared).graph),
                calibrate_method=CalibrationMethod.MinMax,
            )
        except Exception as error:  # of any kind: its converters have no errors of their own
            raise FileProblemError(f"onnxruntime cannot quantise it: {first_line(error, 200)}") from error
    if not any(node.op_type == "QuantizeLinear" for node in onnx.load(target).graph.node):
        target.unlink()
        raise FileProblemError("onnxruntime finds no operator in it that it can quantise")


def _images(batches: Iterable[npt.NDArray[np.float32]]) -> Any:
    """The images as onnxruntime's calibration reads them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped
        def __init__(self) -> None:
            self._batches = iter(batches)

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            """The next batch; None at the end."""
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: batch}

    return Reader()


def _normalisation(graph: Any) -> list[str]:
    """Names of the operators before the first one that computes: they normalise the images."""
    names: list[str] = []
    for node in graph.node:
        if node.op_type in COMPUTING:
            break
        names.append(node.name)
    return names


@contextmanager
def _silent() -> Iterator[None]:
    """A context without onnxruntime's advice in the log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
