from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lpstudy.students import StudentSpec, build

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
