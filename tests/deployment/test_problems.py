"""What a network cannot become is said and left out; what disagrees with torch is no deployment."""

from pathlib import Path

import onnx
import pytest
import torch
from deployments import ORIGIN, of_data, random_data
from torch import Tensor

from lpstudy.deployment import package
from lpstudy.deployment.config import read_config
from lpstudy.deployment.int8_file import write_int8
from lpstudy.deployment.onnx_file import FileProblemError
from lpstudy.deployment.package import Choice, write_package
from lpstudy.model_file import TrainedModel
from lpstudy.outputs import Network, Outputs
from lpstudy.students import StudentSpec


class Unexportable(Network):
    """Its graph depends on the images' values."""

    map_names = ()
    middle = ""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        if images.sum().item() > 1e9:
            raise ArithmeticError
        return self.network(images, maps)


def test_a_network_that_cannot_be_exported_has_its_weights_and_says_so(
    tmp_path: Path, fast_clock: None
) -> None:
    data = random_data()
    model = of_data(StudentSpec(family="convnet", depth=2, width=2), data)
    model.network = Unexportable(model.network)
    lines: list[str] = []
    write_package(tmp_path, Choice(model, ORIGIN, int8=True), data, lines.append)
    config = read_config(tmp_path).lpstudy
    assert set(config.problems) == {"model.onnx", "model.pt2", "model.int8.onnx"}
    assert config.problems["model.onnx"].startswith("torch cannot export the network: ")
    assert config.problems["model.int8.onnx"] == "there is no model.onnx to quantise"
    assert not any("\n" in line for line in (*config.problems.values(), *lines))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json", "latency.json", "model.safetensors",
    ]  # fmt: skip


def test_a_file_that_disagrees_with_torch_is_left_out(
    tmp_path: Path, fast_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = random_data()
    model = of_data(StudentSpec(family="convnet", depth=2, width=2), data)
    write = package.write_onnx

    def write_another(own: TrainedModel, shape: tuple[int, int, int], path: Path) -> None:
        write(own, shape, path)
        proto = onnx.load(path)
        bias = next(one for one in proto.graph.initializer if list(one.dims) == [4])
        values = onnx.numpy_helper.to_array(bias) + 0.5
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        onnx.save(proto, path)

    monkeypatch.setattr(package, "write_onnx", write_another)
    write_package(tmp_path, Choice(model, ORIGIN, int8=False), data, lambda line: None)
    config = read_config(tmp_path).lpstudy
    assert "its logits differ from torch's by up to 0.5" in config.problems["model.onnx"]
    assert set(config.files) == {"model.pt2"}
    assert not (tmp_path / "model.onnx").exists()


def test_a_network_without_anything_to_quantise_is_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Identity", ["images"], ["logits"], name="identity")
    value = [onnx.helper.make_tensor_value_info(name, 1, ["batch", 4]) for name in ("images", "logits")]
    graph = onnx.helper.make_graph([node], "none", value[:1], value[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)]), tmp_path / "a")
    with pytest.raises(FileProblemError, match="onnxruntime"):
        write_int8(tmp_path / "a", tmp_path / "b", [torch.zeros(2, 4).numpy()])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
