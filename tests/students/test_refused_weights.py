"""Weights that do not fit are refused in one line that says why."""

import shlex
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lpstudy.students import StudentSpec, build, read_weights

SHAPE = (3, 32, 32)


def _resnet(weights: Path | None) -> StudentSpec:
    return StudentSpec(family="torchvision", design="resnet18", weights=weights)


def test_a_folder_without_weights_says_which_names_are_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no weights\.safetensors and no model\.safetensors"):
        build(_resnet(tmp_path), input_shape=SHAPE, classes=5)


@pytest.mark.parametrize("name", ["it's.pth", "pytorch_model.bin", "plain"])
@pytest.mark.parametrize("nested", ["", "state_dict", "model"])
def test_a_file_with_other_objects_is_refused_with_a_command_that_converts_it(
    name: str, nested: str, published: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / name
    torch.save((({nested: published} if nested else published) | {"args": Namespace(lr=0.1)}), path)

    with pytest.raises(ValueError, match=r"holds argparse\.Namespace beside tensors, and") as caught:
        build(_resnet(path), input_shape=SHAPE, classes=5)

    line = str(caught.value)
    assert "\n" not in line
    python, flag, code = shlex.split(line.partition("convert it once: ")[2])
    assert (python, flag) == ("python", "-c")
    exec(code, {})
    network = build(_resnet(path.with_suffix(".safetensors")), input_shape=SHAPE, classes=5).state_dict()
    assert torch.equal(network["network.conv1.weight"], published["conv1.weight"])


def test_the_command_converts_a_whole_module(tmp_path: Path) -> None:
    module = nn.Linear(2, 3)
    torch.save({"model": module}, tmp_path / "w.pth")

    with pytest.raises(ValueError, match=r"holds torch\.nn\.modules\.linear\.Linear") as caught:
        read_weights(tmp_path / "w.pth")

    exec(shlex.split(str(caught.value).partition("convert it once: ")[2])[2], {})
    assert torch.equal(read_weights(tmp_path / "w.safetensors").tensors["weight"], module.weight)


def test_a_folder_with_a_file_of_torch_alone_says_to_name_it(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_model.bin")

    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors; name a file of torch itself"):
        build(_resnet(tmp_path), input_shape=SHAPE, classes=5)


def test_another_architecture_is_reported_by_its_first_difference(file: Path) -> None:
    from torchvision import models

    save_file(models.resnet50(num_classes=5).state_dict(), file)

    with pytest.raises(ValueError, match=r"layer1\.0\.conv1\.weight has shape \[64, 64, 1, 1\] where"):
        build(_resnet(file), input_shape=SHAPE, classes=5)


def test_a_file_that_shares_no_name_says_so(file: Path) -> None:
    save_file({"embeddings.\x1b[2J.weight": torch.zeros(2), "pooler.bias": torch.zeros(2)}, file)

    with pytest.raises(
        ValueError, match=r"none of this network's tensors, which are conv1\.weight"
    ) as caught:
        build(_resnet(file), input_shape=SHAPE, classes=5)

    assert str(caught.value).isprintable()


def test_values_that_are_not_finite_are_refused(published: dict[str, Tensor], file: Path) -> None:
    save_file(published | {"layer1.0.bn1.bias": torch.full((64,), torch.nan)}, file)

    with pytest.raises(ValueError, match=r"layer1\.0\.bn1\.bias is not finite"):
        build(_resnet(file), input_shape=SHAPE, classes=5)


def test_missing_tensors_are_named(published: dict[str, Tensor], file: Path) -> None:
    save_file({name: value for name, value in published.items() if name != "conv1.weight"}, file)

    with pytest.raises(ValueError, match=r"weights.safetensors lacks conv1.weight$"):
        build(_resnet(file), input_shape=SHAPE, classes=5)


def test_unexpected_tensors_are_named_a_few_of_many(published: dict[str, Tensor], file: Path) -> None:
    save_file(published | {f"z{number}": torch.zeros(1) for number in range(8)}, file)

    with pytest.raises(ValueError, match=r"holds z0, z1, z2, z3, z4 and 3 more, which this network"):
        build(_resnet(file), input_shape=SHAPE, classes=5)


def test_another_shape_is_named(published: dict[str, Tensor], file: Path) -> None:
    save_file(published | {"conv1.weight": torch.zeros(64, 3, 3, 3)}, file)

    with pytest.raises(
        ValueError, match=r"conv1.weight has shape \[64, 3, 3, 3\] where this network needs \[64, 3, 7, 7\]"
    ):
        build(_resnet(file), input_shape=SHAPE, classes=5)


def test_a_file_that_does_not_exist_is_named(file: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights at .*weights.safetensors"):
        build(_resnet(file), input_shape=SHAPE, classes=5)


@pytest.mark.parametrize("content", [b"", b"not a tensor", b"\x80\x04\x95pickle", b"PK\x03\x04"])
def test_a_file_that_is_no_safetensors_is_refused(content: bytes, file: Path) -> None:
    file.write_bytes(content)

    with pytest.raises(ValueError, match="is not a safetensors file") as caught:
        build(_resnet(file), input_shape=SHAPE, classes=5)

    assert "\n" not in str(caught.value)
