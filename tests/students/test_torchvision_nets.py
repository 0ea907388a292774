import subprocess
import sys

import pytest
import torch
from torch import nn

from lpstudy.students import StudentSpec, build, skeleton

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


@pytest.mark.parametrize(
    ("design", "kernel", "factor"),
    [
        ("resnet18", 7, 4),
        ("wide_resnet50_2", 7, 4),
        ("resnext50_32x4d", 7, 4),
        ("densenet121", 7, 4),
        ("shufflenet_v2_x0_5", 3, 4),
        ("mobilenet_v2", 3, 2),
        ("mobilenet_v3_small", 3, 2),
        ("efficientnet_b0", 3, 2),
        ("regnet_x_400mf", 3, 2),
        ("mnasnet0_5", 3, 2),
    ],
)
def test_a_small_stem_keeps_the_resolution_and_the_rest_of_the_network(
    design: str, kernel: int, factor: int
) -> None:
    """Two or four times the side everywhere: the first convolution and the pool each halve it."""
    small, large = (
        skeleton(
            StudentSpec.model_validate({"family": "torchvision", "design": design, "stem": stem}),
            input_shape=SHAPE,
            classes=5,
        )
        for stem in ("small", None)
    )
    conv = next(module for module in small.modules() if isinstance(module, nn.Conv2d))
    shapes, large_shapes = (
        {name: value.shape for name, value in network.state_dict().items()} for network in (small, large)
    )
    different = [name for name, shape in large_shapes.items() if shapes[name] != shape]
    images = torch.empty(1, *SHAPE, device="meta")
    sides = [net.eval()(images, (small.middle,)).maps[small.middle].shape[2] for net in (small, large)]

    assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
    assert shapes.keys() == large_shapes.keys()
    assert len(different) == (kernel == 7)
    assert sides[0] == factor * sides[1]


def test_a_new_stem_starts_as_the_model_s_own_convolutions_do() -> None:
    for design, fan in (("resnet18", 64), ("densenet121", 3)):
        spec = StudentSpec(family="torchvision", design=design, stem="small")
        network = build(spec, input_shape=(3, 32, 32), classes=5)
        weight = next(module.weight for module in network.modules() if isinstance(module, nn.Conv2d))

        assert weight.var().item() == pytest.approx(2 / (9 * fan), rel=0.15)


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
        "print(*({'torchvision', 'timm', 'safetensors', 'PIL'} & sys.modules.keys()))"
    )

    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert process.stdout.strip() == ""
