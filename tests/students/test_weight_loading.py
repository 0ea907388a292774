"""Weights of other programs load into a network, with any prefix of their names."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lpstudy.students import (
    ReplacedHead,
    StudentSpec,
    WeightsFile,
    build,
    fit_weights,
    load_weights,
    skeleton,
)

SHAPE = (3, 32, 32)


def _resnet(weights: Path | None) -> StudentSpec:
    return StudentSpec(family="torchvision", design="resnet18", weights=weights)


def test_torchvision_weights_go_where_they_belong(published: dict[str, Tensor], file: Path) -> None:
    from torchvision import models

    save_file(published, file)
    reference = models.resnet18(num_classes=5)
    reference.load_state_dict(published)
    images = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))

    network = build(_resnet(file), input_shape=SHAPE, classes=5)

    assert torch.equal(network.eval()(images).logits, reference.eval()(images))


def test_a_head_of_another_class_count_is_replaced_by_the_seed(
    published: dict[str, Tensor], file: Path
) -> None:
    save_file(published, file)

    network = build(_resnet(file), input_shape=SHAPE, classes=9, seed=4).state_dict()

    fresh = build(_resnet(None), input_shape=SHAPE, classes=9, seed=4).state_dict()
    for name, value in network.items():
        is_head = name.startswith("network.fc.")
        expected = fresh[name] if is_head else published[name.removeprefix("network.")]
        assert torch.equal(value, expected)


def test_the_count_of_batches_may_be_absent(published: dict[str, Tensor], file: Path) -> None:
    old = {name: value for name, value in published.items() if not name.endswith("num_batches_tracked")}
    save_file(old, file)

    network = build(_resnet(file), input_shape=SHAPE, classes=5).state_dict()

    assert torch.equal(network["network.layer4.1.bn2.weight"], published["layer4.1.bn2.weight"])


@pytest.mark.parametrize(
    "spec",
    [
        StudentSpec(family="maxout", depth=3, width=4),
        StudentSpec(family="convnet", depth=3, width=4),
        StudentSpec(family="wrn", depth=10, width=1),
        StudentSpec(family="torchvision", design="shufflenet_v2_x0_5"),
    ],
    ids=StudentSpec.label,
)
def test_every_family_takes_its_own_weights(spec: StudentSpec, file: Path) -> None:
    trained = build(spec, input_shape=SHAPE, classes=5, seed=1)
    save_file(trained.state_dict(), file)

    network = build(spec.model_copy(update={"weights": file}), input_shape=SHAPE, classes=5, seed=2)

    tensors = network.state_dict()
    assert all(torch.equal(tensors[name], value) for name, value in trained.state_dict().items())


def _below(*prefixes: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {".".join([*prefixes, name]): value for name, value in state.items()}


def _averaged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": value for name, value in state.items()} | {"n_averaged": torch.tensor(3)}


def _wrapped_inside(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names where DataParallel or torch.compile wraps a part of the network."""
    return {name.replace("layer1.", "layer1._orig_mod.module."): value for name, value in state.items()}


FORMS = {
    "torchvision's own": _below(),
    "lpstudy's own": _below("network"),
    "DataParallel": _below("module"),
    "torch.compile": _below("_orig_mod"),
    "compiled, then DataParallel": _below("module", "_orig_mod"),
    "DataParallel, then compiled": _below("_orig_mod", "module"),
    "lpstudy's own, DataParallel": _below("module", "network"),
    "a trainer's": _below("model"),
    "a trainer's, twice": _below("student", "backbone"),
    "AveragedModel": _averaged,
    "a part wrapped": _wrapped_inside,
    "half precision": lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_names_loads(form: str, published: dict[str, Tensor], file: Path) -> None:
    state = FORMS[form](published)
    save_file(state, file)

    network = build(_resnet(file), input_shape=SHAPE, classes=5, seed=3).state_dict()

    exact = "half" not in form
    for name, value in published.items():
        expected = value if exact else (value.half().float() if value.is_floating_point() else value)
        assert torch.equal(network[f"network.{name}"], expected), name


def test_weights_below_a_prefix_load_into_a_family_of_ones_own_and_replace_its_head(file: Path) -> None:
    spec = StudentSpec(family="wrn", depth=10, width=1)
    trained = build(spec, input_shape=SHAPE, classes=5, seed=1).state_dict()
    save_file(_below("_orig_mod")(trained), file)
    network = build(spec, input_shape=SHAPE, classes=7, seed=2)

    head = load_weights(network, file)

    assert head == ReplacedHead("classifier", 5, 7)
    fresh = build(spec, input_shape=SHAPE, classes=7, seed=2).state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, (fresh if name.startswith("classifier.") else trained)[name])


FORMER = {
    "densenet121": (
        "features.denseblock1.denselayer1.norm1.weight",
        "denselayer1.norm1.",
        "denselayer1.norm.1.",
    ),
    "vit_b_32": (
        "encoder.layers.encoder_layer_0.mlp.3.weight",
        "encoder_layer_0.mlp.3.",
        "encoder_layer_0.mlp.linear_2.",
    ),
}
"""A tensor of the model, part of its name today, and that part in published files."""


@pytest.mark.parametrize("design", FORMER)
def test_names_that_torchvision_has_given_up_load(design: str) -> None:
    tensor, now, before = FORMER[design]
    spec = StudentSpec(family="torchvision", design=design)
    network = skeleton(spec, input_shape=(3, 64, 64), classes=5)
    state = {
        name.removeprefix("network.").replace(now, before): torch.full(value.shape, 0.5)
        for name, value in network.state_dict().items()
    }
    assert tensor not in state

    tensors, head = fit_weights(network, WeightsFile("file", b"", "", state))

    assert head is None
    assert tensors.keys() == network.state_dict().keys()
    assert tensors[f"network.{tensor}"].unique().tolist() == [0.5]


def test_a_model_that_asks_for_the_version_of_its_weights_loads(file: Path) -> None:
    spec = StudentSpec(family="torchvision", design="mnasnet0_5")
    trained = build(spec, input_shape=(3, 32, 32), classes=5, seed=1).state_dict()
    save_file(trained, file)

    network = build(spec.model_copy(update={"weights": file}), input_shape=(3, 32, 32), classes=5, seed=2)

    assert all(torch.equal(value, trained[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("names", [["model.safetensors"], ["weights.safetensors", "model.safetensors"]])
def test_a_folder_is_taken_for_the_file_in_it(
    names: list[str], published: dict[str, Tensor], tmp_path: Path
) -> None:
    for name in names:
        scale = 1 if name == names[0] else 2
        state = {k: v * scale if v.is_floating_point() else v for k, v in published.items()}
        save_file(state, tmp_path / name)

    network = build(_resnet(tmp_path), input_shape=SHAPE, classes=5).state_dict()

    assert torch.equal(network["network.conv1.weight"], published["conv1.weight"])


def test_auxiliary_heads_are_left_out(file: Path) -> None:
    spec = StudentSpec(family="torchvision", design="googlenet", weights=file)
    state = build(spec.model_copy(update={"weights": None}), input_shape=SHAPE, classes=5).state_dict()
    published = {name.removeprefix("network."): value for name, value in state.items()}
    save_file(published | {"aux1.fc2.bias": torch.zeros(5)}, file)

    network = build(spec, input_shape=SHAPE, classes=5, seed=2).state_dict()

    assert torch.equal(network["network.fc.weight"], published["fc.weight"])
