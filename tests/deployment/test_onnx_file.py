"""An ONNX file gives the logits of its network, for any number of images, and names no file of a machine."""

import builtins
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from lpstudy.deployment.onnx_file import open_session, write_onnx
from lpstudy.model_file import TrainedModel


@pytest.fixture(scope="module")
def file(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(trained, trained.description.input_shape, path)
    return path


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_gives_the_logits_of_torch(trained: TrainedModel, file: Path, batch: int) -> None:
    images = torch.rand(batch, *trained.description.input_shape)
    (logits,) = open_session(file).run(["logits"], {"images": images.numpy()})
    np.testing.assert_allclose(logits, trained(images).numpy(), rtol=0, atol=1e-5)


def test_its_first_dimension_alone_is_dynamic(file: Path) -> None:
    graph = onnx.load(file).graph
    (images,), (logits,) = graph.input, graph.output
    dimensions = [one.dim_param or one.dim_value for one in images.type.tensor_type.shape.dim]
    assert (images.name, dimensions) == ("images", ["batch", 3, 16, 16])
    dimensions = [one.dim_param or one.dim_value for one in logits.type.tensor_type.shape.dim]
    assert (logits.name, dimensions) == ("logits", ["batch", 4])


def test_is_valid_and_names_no_source_file(file: Path) -> None:
    onnx.checker.check_model(onnx.load(file), full_check=True)
    content = file.read_bytes()
    for words in (b".py", b"stack_trace", str(Path.cwd()).encode()):
        assert words not in content
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_bare_network_gives_its_logits(trained: TrainedModel, tmp_path: Path) -> None:
    write_onnx(trained.network, trained.description.input_shape, tmp_path / "bare.onnx")
    images = torch.randn(3, *trained.description.input_shape)
    (logits,) = open_session(tmp_path / "bare.onnx").run(None, {"images": images.numpy()})
    np.testing.assert_allclose(logits, trained.network(images).logits.numpy(), rtol=0, atol=1e-5)


def test_a_missing_package_is_told_with_its_extra(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = builtins.__import__

    def without_onnx(name: str, *rest: object) -> object:
        if name == "onnx":
            raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_onnx)
    with pytest.raises(ValueError, match=r"^ONNX files need the package onnx, .* 'lpstudy\[deploy\]'$"):
        write_onnx(trained, trained.description.input_shape, tmp_path / "model.onnx")
