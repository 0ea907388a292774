import subprocess
import sys

import pytest
import torch

from lpstudy.students import StudentSpec, build

SHAPE = (3, 64, 64)
RESNET_MAPS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")


@pytest.mark.parametrize(
    ("design", "maps", "middle"),
    [
        ("resnet18", RESNET_MAPS, "layer2"),
        ("vgg11", ("features", "avgpool"), "features"),
        ("regnet_x_400mf", ("stem", "trunk_output", "avgpool"), "trunk_output"),
        ("vit_b_32", ("conv_proj",), "conv_proj"),
        ("swin_t", ("permute", "avgpool"), "permute"),  # what precedes the permutation has the channels last
    ],
)
def test_maps_are_the_children_with_channels_second(design: str, maps: tuple[str, ...], middle: str) -> None:
    with torch.device("meta"):
        network = build(StudentSpec(family="torchvision", design=design), input_shape=SHAPE, classes=10)

    assert (network.map_names, network.middle) == (maps, middle)


def test_a_map_is_not_overwritten_by_what_follows_in_place() -> None:
    network = build(StudentSpec(family="torchvision", design="resnet18"), input_shape=SHAPE, classes=10)
    images = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))

    maps = network(images, ("bn1", "relu")).maps

    assert maps["bn1"].min() < 0
    assert torch.equal(maps["relu"], maps["bn1"].relu())


def test_no_hook_outlives_a_forward() -> None:
    network = build(StudentSpec(family="torchvision", design="resnet18"), input_shape=SHAPE, classes=10)

    network(torch.zeros(2, *SHAPE), ("layer2",))
    with pytest.raises(RuntimeError):
        network(torch.zeros(2, 5, 64, 64), ("layer2",))

    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_the_other_families_need_neither_torchvision_nor_safetensors() -> None:
    program = (
        "import sys; from lpstudy.cost import cost_of; from lpstudy.students import StudentSpec;"
        "cost_of(StudentSpec(family='convnet', depth=2, width=2), input_shape=(1, 8, 8), classes=2);"
        "print(*({'torchvision', 'safetensors', 'PIL'} & sys.modules.keys()))"
    )

    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert process.stdout.strip() == ""
