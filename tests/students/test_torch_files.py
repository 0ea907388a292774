"""Checkpoints of torch load as they are: of any nesting, with the names of the literature's code."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from repdistiller_layouts import LAYOUTS, images, state_of
from safetensors.torch import save_file
from torch import Tensor, nn

from lpstudy.model_file import check_weights
from lpstudy.students import StudentSpec, build, read_weights, skeleton
from lpstudy.students.literature_names import LITERATURE_NAMES, rename

SHAPE = (3, 32, 32)
SPECS: dict[str, dict[str, object]] = {
    "resnet8x4": {"family": "resnet", "depth": 8, "width": 4},
    "ResNet50": {"family": "resnet50_small"},
    "wrn_16_1": {"family": "wrn", "depth": 16, "width": 1},
    "vgg8": {"family": "vgg", "depth": 8, "width": 64},
    "vgg13": {"family": "vgg", "depth": 13, "width": 64},
    "MobileNetV2": {"family": "mobilenetv2", "width": 50},
    "ShuffleV1": {"family": "shufflenetv1", "width": 100},
    "ShuffleV2": {"family": "shufflenetv2", "width": 100},
}


@pytest.mark.parametrize("model", LAYOUTS)
def test_a_checkpoint_of_the_literature_gives_its_logits(model: str, tmp_path: Path) -> None:
    """The logits of RepDistiller's own code for the same tensors, written down once."""
    path = tmp_path / "ckpt_epoch_240.pth"
    state = state_of(LAYOUTS[model]["modules"])
    torch.save({"epoch": 240, "model": state, "best_acc": torch.tensor(75.6)}, path)
    spec = StudentSpec.model_validate({**SPECS[model], "weights": path})

    network = build(spec, input_shape=SHAPE, classes=100).double().eval()

    expected = torch.tensor(LAYOUTS[model]["logits"], dtype=torch.float64)
    with torch.no_grad():
        logits = network(images().double()).logits[:, :5]
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)


def test_a_bottleneck_network_is_torchvision_s_with_a_small_stem(tmp_path: Path) -> None:
    """ResNet-50 of another author, through the same names: `downsample` for the shortcut."""
    spec = StudentSpec(family="torchvision", design="resnet50", stem="small")
    reference = build(spec, input_shape=SHAPE, classes=9, seed=3).eval()
    torch.save(reference.state_dict(), tmp_path / "w.pt")
    own = StudentSpec(family="resnet50_small", weights=tmp_path / "w.pt")

    network = build(own, input_shape=SHAPE, classes=9).eval()

    with torch.no_grad():
        torch.testing.assert_close(network(images()).logits, reference(images()).logits)


@pytest.mark.parametrize("kind", LITERATURE_NAMES)
def test_names_of_the_literature_and_of_lpstudy_never_mix(kind: str) -> None:
    """lpstudy's own names go through every table unchanged."""
    for keys in SPECS.values():
        network = skeleton(StudentSpec.model_validate(keys), input_shape=SHAPE, classes=10)
        own = list(network.state_dict())

        assert [rename(name, LITERATURE_NAMES[kind]) for name in own] == own


NET = StudentSpec(family="resnet", depth=8, width=1)


def _trained(classes: int = 7) -> dict[str, Tensor]:
    return build(NET, input_shape=SHAPE, classes=classes, seed=5).state_dict()


@pytest.mark.parametrize(
    "name", ["w.pth", "w.pt", "pytorch_model.bin", "w.th", "w.tar", "last.ckpt", "latest"]
)
@pytest.mark.parametrize("old", [False, True], ids=["archive", "old format"])
def test_every_suffix_and_both_formats_load(name: str, old: bool, tmp_path: Path) -> None:
    state = _trained()
    torch.save(state, tmp_path / name, _use_new_zipfile_serialization=not old)

    spec = NET.model_copy(update={"weights": str(tmp_path / name)})
    network = build(spec, input_shape=SHAPE, classes=7).state_dict()

    assert all(torch.equal(network[key], value) for key, value in state.items())


def _below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


OPTIMIZER = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
LAYOUT = "resnet8x4"
FORMS: dict[str, tuple[str, str, list[str]]] = {
    # the keys around the state dict, the prefix of its names, and what is remarks of both
    "plain": ("", "", []),
    "model": ("model", "", ["the tensors of its key model"]),
    "state_dict, DataParallel": (
        "state_dict",
        "module.",
        ["the tensors of its key state_dict", "without module."],
    ),
    "net, twice below": ("net", "model.backbone.", ["the tensors of its key net", "without model.backbone."]),
    "nested keys": ("model state_dict", "", ["the tensors of its key model.state_dict"]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("literature", [False, True], ids=["own names", "names of the literature"])
def test_keys_and_prefixes_are_understood_and_said(form: str, literature: bool, tmp_path: Path) -> None:
    keys, prefix, words = FORMS[form]
    spec = StudentSpec.model_validate(SPECS[LAYOUT]) if literature else NET
    state = state_of(LAYOUTS[LAYOUT]["modules"]) if literature else _trained(100)
    checkpoint: object = _below(prefix, state)
    for key in reversed(keys.split()):
        checkpoint = {key: checkpoint, "epoch": 3, "optimizer": OPTIMIZER, "scheduler": None}
    torch.save(checkpoint, tmp_path / "w.pth")
    names = tuple(map(str, range(100)))

    head, lines = check_weights(tmp_path / "w.pth", spec, input_shape=SHAPE, class_names=names)

    assert head is None
    remarks = words + ["as RepDistiller's resnet"] * literature
    start = [] if keys or not remarks else ["its tensors"]
    assert lines == ((f"reads {', '.join(start + remarks)}",) if remarks else ())


def test_parameters_and_half_precision_load(tmp_path: Path) -> None:
    state = _trained()
    parameters = {key: nn.Parameter(v.half()) if v.is_floating_point() else v for key, v in state.items()}
    torch.save(parameters, tmp_path / "w.pth")

    spec = NET.model_copy(update={"weights": str(tmp_path / "w.pth")})
    network = build(spec, input_shape=SHAPE, classes=7)

    for key, value in network.state_dict().items():
        expected = state[key].half().float() if state[key].is_floating_point() else state[key]
        assert torch.equal(value, expected)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_another_class_count_replaces_the_literature_s_head(tmp_path: Path) -> None:
    torch.save({"model": state_of(LAYOUTS["vgg8"]["modules"])}, tmp_path / "w.pth")
    spec = StudentSpec.model_validate(SPECS["vgg8"])

    head, lines = check_weights(
        tmp_path / "w.pth", spec, input_shape=SHAPE, class_names=tuple(map(str, range(10)))
    )

    assert head is not None
    assert (head.name, head.file_classes, head.classes) == ("classifier", 100, 10)
    assert lines[0] == "reads the tensors of its key model, as RepDistiller's vgg"


def test_the_content_and_not_the_name_says_what_a_file_is(tmp_path: Path) -> None:
    state = _trained()
    save_file(state, tmp_path / "w.pth")
    torch.save(state, tmp_path / "w.safetensors")

    assert read_weights(tmp_path / "w.pth").tensors.keys() == state.keys()
    with pytest.raises(
        ValueError, match=r"w\.safetensors is not a safetensors file: torch\.save wrote it; name it \.pth"
    ):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"has no tensors by name, .*; it has nothing"),
        ({"epoch": 3, "args": {"lr": 0.1}}, "it has epoch, args"),
        ([torch.zeros(2)], "it has nothing"),
        ({"model": {}}, "it has nothing"),
        ({0: torch.zeros(2)}, "it has 0"),
    ],
)
def test_a_file_without_a_state_dict_says_what_it_has(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")

    with pytest.raises(ValueError, match=message):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("rest", [Namespace(lr=0.1), nn.Linear(2, 2)], ids=["arguments", "a module"])
def test_names_of_what_needs_unpickling_are_in_the_refusal(rest: object, tmp_path: Path) -> None:
    torch.save({"model": _trained(), "rest": rest}, tmp_path / "w.pth")

    with pytest.raises(ValueError, match=r"w\.pth holds (argparse\.Namespace|torch\.nn\.\S*) beside tensors"):
        read_weights(tmp_path / "w.pth")
