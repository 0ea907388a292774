import shlex
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
    fitted,
    load_weights,
    skeleton,
)

SHAPE = (3, 32, 32)


def _resnet(weights: Path | None) -> StudentSpec:
    return StudentSpec(family="torchvision", design="resnet18", weights=weights)


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """A torchvision model's own state, of 5 classes."""
    from torchvision import models

    with torch.random.fork_rng():
        torch.manual_seed(0)
        state: dict[str, Tensor] = models.resnet18(num_classes=5).state_dict()
    return state


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


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

    found = network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in trained.state_dict().items())


def _below(*prefixes: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {".".join([*prefixes, name]): value for name, value in state.items()}


def _averaged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": value for name, value in state.items()} | {"n_averaged": torch.tensor(3)}


def _wrapped_inside(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As where a part of the network was given to DataParallel or torch.compile."""
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
"""A tensor of the model, part of its name today, and what published files have in that place."""


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

    found, head = fitted(network, WeightsFile("file", b"", "", state))

    assert head is None
    assert found.keys() == network.state_dict().keys()
    assert found[f"network.{tensor}"].unique().tolist() == [0.5]


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


def test_a_folder_without_weights_says_which_names_are_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no weights\.safetensors and no model\.safetensors"):
        build(_resnet(tmp_path), input_shape=SHAPE, classes=5)


@pytest.mark.parametrize("name", ["it's.pth", "w.pt", "pytorch_model.bin", "last.ckpt", "plain"])
@pytest.mark.parametrize("nested", ["", "state_dict", "model"])
def test_a_file_of_torch_is_refused_with_a_command_that_converts_it(
    name: str, nested: str, published: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / name
    torch.save({nested: published, "epoch": 3} if nested else published, path)

    with pytest.raises(ValueError, match="reading it may run code") as caught:
        build(_resnet(path), input_shape=SHAPE, classes=5)

    line = str(caught.value)
    assert "\n" not in line
    python, flag, code = shlex.split(line.partition("convert it once: ")[2])
    assert (python, flag) == ("python", "-c")
    exec(code, {})
    network = build(_resnet(path.with_suffix(".safetensors")), input_shape=SHAPE, classes=5).state_dict()
    assert torch.equal(network["network.conv1.weight"], published["conv1.weight"])


def test_a_folder_with_a_file_of_torch_alone_says_how_to_convert_it(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_model.bin")

    with pytest.raises(ValueError, match=r"pytorch_model\.bin is not a safetensors file.*convert"):
        build(_resnet(tmp_path), input_shape=SHAPE, classes=5)


def test_another_architecture_is_told_by_its_first_difference(file: Path) -> None:
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


def test_auxiliary_heads_are_left_out(file: Path) -> None:
    spec = StudentSpec(family="torchvision", design="googlenet", weights=file)
    state = build(spec.model_copy(update={"weights": None}), input_shape=SHAPE, classes=5).state_dict()
    published = {name.removeprefix("network."): value for name, value in state.items()}
    save_file(published | {"aux1.fc2.bias": torch.zeros(5)}, file)

    network = build(spec, input_shape=SHAPE, classes=5, seed=2).state_dict()

    assert torch.equal(network["network.fc.weight"], published["fc.weight"])


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


@pytest.mark.parametrize("content", [b"", b"not a tensor", b"\x80\x04\x95pickle"])
def test_a_file_that_is_no_safetensors_is_refused(content: bytes, file: Path) -> None:
    file.write_bytes(content)

    with pytest.raises(ValueError, match="is not a safetensors file") as caught:
        build(_resnet(file), input_shape=SHAPE, classes=5)

    assert "\n" not in str(caught.value)
