"""One suite for all families; a new design is tested by being added to DESIGNS."""

import copy
import random
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lpstudy.outputs import Network
from lpstudy.space import import_files
from lpstudy.students import StudentSpec, build, skeleton
from lpstudy.students.layers import classifier_layer, last_linear
from lpstudy.students.maxout import MaxoutNet
from lpstudy.students.timm import TimmNet

Shape = tuple[int, int, int]
import_files([Path(__file__).parent / "own_net.py"])

CIFAR = (3, 32, 32)
MNIST = (1, 28, 28)
DIGITS = (1, 8, 8)
TINY_IMAGENET = (3, 64, 64)

DESIGNS: dict[str, tuple[StudentSpec, Shape]] = {
    "fitnet1 on CIFAR": (StudentSpec(family="maxout", design="fitnet1"), CIFAR),
    "fitnet4 on CIFAR": (StudentSpec(family="maxout", design="fitnet4"), CIFAR),
    "fitnet teacher on MNIST": (StudentSpec(family="maxout", design="teacher"), MNIST),
    "maxout on MNIST": (StudentSpec(family="maxout", depth=7, width=4), MNIST),
    "maxout on oblong images": (StudentSpec(family="maxout", depth=3, width=5), (3, 20, 33)),
    "convnet on digits": (StudentSpec(family="convnet", depth=4, width=8), DIGITS),
    "convnet on MNIST": (StudentSpec(family="convnet", depth=5, width=6), MNIST),
    "convnet on 64 pixels": (StudentSpec(family="convnet", depth=6, width=4), TINY_IMAGENET),
    "convnet of one layer": (StudentSpec(family="convnet", depth=1, width=4), DIGITS),
    "convnet of two layers": (StudentSpec(family="convnet", depth=2, width=4), DIGITS),
    "wrn-10-1 on CIFAR": (StudentSpec(family="wrn", depth=10, width=1), CIFAR),
    "wrn-16-2 on MNIST": (StudentSpec(family="wrn", depth=16, width=2), MNIST),
    "resnet8 on MNIST": (StudentSpec(family="resnet", depth=8, width=1), MNIST),
    "resnet8x4 on CIFAR": (StudentSpec(family="resnet", depth=8, width=4), CIFAR),
    "resnet14x2 on digits": (StudentSpec(family="resnet", depth=14, width=2), DIGITS),
    "resnet50 on digits": (StudentSpec(family="resnet50_small"), DIGITS),
    "vgg8 on MNIST": (StudentSpec(family="vgg", depth=8, width=8), MNIST),
    "vgg13 on CIFAR": (StudentSpec(family="vgg", depth=13, width=16), CIFAR),
    "vgg11 on 64 pixels": (StudentSpec(family="vgg", depth=11, width=16), TINY_IMAGENET),
    "mobilenetv2 of half the width on CIFAR": (StudentSpec(family="mobilenetv2", width=50), CIFAR),
    "mobilenetv2 on MNIST": (StudentSpec(family="mobilenetv2", width=35), MNIST),
    "shufflenetv1 on CIFAR": (StudentSpec(family="shufflenetv1", width=100), CIFAR),
    "shufflenetv1 of a quarter on MNIST": (StudentSpec(family="shufflenetv1", width=25), MNIST),
    "shufflenetv2 on MNIST": (StudentSpec(family="shufflenetv2", width=100), MNIST),
    "shufflenetv2 of half the width on 64 pixels": (
        StudentSpec(family="shufflenetv2", width=50),
        TINY_IMAGENET,
    ),
    "a module of one's own on digits": (StudentSpec(family="module", design="own_net:Net", width=6), DIGITS),
    "layers of a module of one's own on MNIST": (
        StudentSpec(family="module", design="own_net:Net", depth=3, layers=("body.0", "body.2", "last")),
        MNIST,
    ),
    "resnet18 on 64 pixels": (StudentSpec(family="torchvision", design="resnet18"), TINY_IMAGENET),
    "resnet18 with a small stem on CIFAR": (
        StudentSpec(family="torchvision", design="resnet18", stem="small"),
        CIFAR,
    ),
    "mobilenet_v3_small": (StudentSpec(family="torchvision", design="mobilenet_v3_small"), TINY_IMAGENET),
    "shufflenet_v2_x0_5": (StudentSpec(family="torchvision", design="shufflenet_v2_x0_5"), TINY_IMAGENET),
}
if find_spec("timm") is not None:
    DESIGNS |= {
        "timm's EfficientNet on MNIST": (
            StudentSpec(family="timm", design="test_efficientnet.r160_in1k"),
            MNIST,
        ),
        "timm's ViT on 64 pixels": (StudentSpec(family="timm", design="test_vit"), TINY_IMAGENET),
        "timm's ConvNeXt on 64 pixels": (StudentSpec(family="timm", design="test_convnext"), TINY_IMAGENET),
    }

CLASSES = 7


@pytest.fixture(params=DESIGNS, scope="module")
def case(request: pytest.FixtureRequest) -> tuple[StudentSpec, Shape, Network]:
    spec, shape = DESIGNS[request.param]
    return spec, shape, build(spec, input_shape=shape, classes=CLASSES, seed=3)


def _images(shape: Shape, count: int = 5) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


def _global_states() -> tuple[object, ...]:
    legacy = str(np.random.get_state(legacy=False))  # noqa: NPY002 - the global state is what is watched
    return torch.get_rng_state().tolist(), random.getstate(), legacy


def test_gives_logits_embedding_and_all_maps_in_shape(case: tuple[StudentSpec, Shape, Network]) -> None:
    _, shape, network = case
    network.eval()

    outputs = network(_images(shape), network.map_names)

    assert outputs.logits.shape == (5, CLASSES)
    assert outputs.embedding.dim() == 2
    assert outputs.embedding.shape[0] == 5
    assert set(outputs.maps) == set(network.map_names)
    assert all(value.dim() == 4 and value.shape[0] == 5 for value in outputs.maps.values())
    assert network.middle in network.map_names
    assert len(set(network.map_names)) == len(network.map_names) > 0


def test_maps_have_the_channels_second_and_shrink(case: tuple[StudentSpec, Shape, Network]) -> None:
    _, shape, network = case
    network.eval()

    maps = network(_images(shape, 1), network.map_names).maps

    sizes = [maps[name].shape[2] * maps[name].shape[3] for name in network.map_names]
    assert sizes == sorted(sizes, reverse=True)


def test_gives_no_map_that_was_not_asked_for(case: tuple[StudentSpec, Shape, Network]) -> None:
    _, shape, network = case
    network.eval()

    assert network(_images(shape)).maps == {}
    assert list(network(_images(shape), (network.middle,)).maps) == [network.middle]


def test_gives_the_maps_in_the_order_of_the_request(case: tuple[StudentSpec, Shape, Network]) -> None:
    _, shape, network = case
    network.eval()
    reverse = network.map_names[::-1]

    assert tuple(network(_images(shape), reverse).maps) == reverse
    assert tuple(network(_images(shape), (*reverse, reverse[0])).maps) == reverse


def test_maps_do_not_change_the_logits(case: tuple[StudentSpec, Shape, Network]) -> None:
    _, shape, network = case
    network.eval()

    with_maps = network(_images(shape), network.map_names).logits

    assert torch.equal(with_maps, network(_images(shape)).logits)


def test_the_classifier_is_computed_from_the_embedding(case: tuple[StudentSpec, Shape, Network]) -> None:
    _, shape, network = case
    network.eval()
    head = last_linear(network)
    assert head is not None
    assert head[1].out_features == CLASSES

    outputs = network(_images(shape))

    torch.testing.assert_close(
        outputs.logits, outputs.embedding @ head[1].weight.T + head[1].bias, rtol=1e-5, atol=1e-5
    )
    # The very tensor, not an equal one: a loss on the embedding shapes what the classifier reads.
    (gradient,) = torch.autograd.grad(outputs.logits.sum(), outputs.embedding)
    torch.testing.assert_close(gradient, head[1].weight.sum(0).expand_as(gradient))


def test_the_average_of_the_pooled_map_is_the_embedding(case: tuple[StudentSpec, Shape, Network]) -> None:
    _, shape, network = case
    network.eval()
    if network.pooled is None:
        assert isinstance(network, MaxoutNet | TimmNet) or "mobilenet_v3" in case[0].label()
        return

    outputs = network(_images(shape), (network.middle, network.pooled))

    assert list(outputs.maps) == list(dict.fromkeys((network.middle, network.pooled)))
    torch.testing.assert_close(outputs.maps[network.pooled].mean(dim=(2, 3)), outputs.embedding)


def test_the_classifier_is_found_without_weights(case: tuple[StudentSpec, Shape, Network]) -> None:
    spec, shape, network = case
    name, layer = classifier_layer(skeleton(spec, input_shape=shape, classes=CLASSES), shape)

    assert network.get_submodule(name).weight.shape == layer.weight.shape
    assert classifier_layer(network.train(), shape)[1] is network.get_submodule(name)
    assert network.training


def test_an_unknown_map_is_refused_with_the_known_ones(case: tuple[StudentSpec, Shape, Network]) -> None:
    _, shape, network = case

    with pytest.raises(ValueError, match=f"unknown map conv99: .*{network.middle}"):
        network(_images(shape), ("conv99", network.middle))


def test_the_seed_alone_determines_the_weights(case: tuple[StudentSpec, Shape, Network]) -> None:
    spec, shape, network = case
    torch.manual_seed(11)

    again = build(spec, input_shape=shape, classes=CLASSES, seed=3).state_dict()
    other = build(spec, input_shape=shape, classes=CLASSES, seed=4).state_dict()

    first = network.state_dict()
    # Running statistics may have moved since; weights have not.
    assert all(torch.equal(first[name], again[name]) for name, _ in network.named_parameters())
    head = last_linear(network)
    assert head is not None
    assert not torch.equal(first[f"{head[0]}.weight"], other[f"{head[0]}.weight"])


def test_building_leaves_global_random_states_alone(case: tuple[StudentSpec, Shape, Network]) -> None:
    spec, shape, _ = case
    torch.manual_seed(5)
    before = _global_states()

    build(spec, input_shape=shape, classes=CLASSES, seed=1)
    with torch.device("meta"):
        build(spec, input_shape=shape, classes=CLASSES, seed=1)

    assert _global_states() == before


def test_the_meta_device_gives_the_same_shapes_without_weights(
    case: tuple[StudentSpec, Shape, Network],
) -> None:
    spec, shape, network = case

    with torch.device("meta"):
        meta = build(spec, input_shape=shape, classes=CLASSES)

    assert all(value.is_meta for value in meta.state_dict().values())
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    assert {name: value.shape for name, value in meta.state_dict().items()} == shapes
    assert (meta.map_names, meta.middle) == (network.map_names, network.middle)


def test_the_state_survives_safetensors(case: tuple[StudentSpec, Shape, Network], tmp_path: Path) -> None:
    spec, shape, network = case
    network.eval()
    file = tmp_path / "weights.safetensors"

    save_file(network.state_dict(), file)
    other = build(spec, input_shape=shape, classes=CLASSES, seed=99).eval()
    assert not torch.equal(other(_images(shape)).logits, network(_images(shape)).logits)
    other.load_state_dict(load_file(file))

    assert torch.equal(other(_images(shape)).logits, network(_images(shape)).logits)


def test_a_gradient_reaches_every_parameter(case: tuple[StudentSpec, Shape, Network]) -> None:
    spec, shape, _ = case
    network = build(spec, input_shape=shape, classes=CLASSES).train()

    logits = network(_images(shape, 16)).logits
    nn.functional.cross_entropy(logits, torch.arange(16) % CLASSES).backward()

    unreached = [
        name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()
    ]
    assert unreached == []


def test_the_gradient_of_a_map_reaches_the_first_layer(case: tuple[StudentSpec, Shape, Network]) -> None:
    _, shape, network = case
    network.eval()
    images = _images(shape, 1).requires_grad_()

    maps = network(images, (network.middle,)).maps
    (gradient,) = torch.autograd.grad(maps[network.middle].square().sum(), images)

    assert gradient.abs().sum() > 0


def test_a_copy_is_independent(case: tuple[StudentSpec, Shape, Network]) -> None:
    _, shape, network = case
    network.eval()
    expected = network(_images(shape))

    twin = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
        outputs = twin(_images(shape), (twin.middle,))
        for parameter in network.parameters():
            parameter.sub_(1)

    torch.testing.assert_close(outputs.logits, expected.logits)
    assert torch.equal(outputs.embedding, expected.embedding)


def test_starts_near_chance(case: tuple[StudentSpec, Shape, Network]) -> None:
    """Loss at the start, in nats: a network that is sure of anything has a scale that grew on its way."""
    spec, shape, _ = case
    network = build(spec, input_shape=shape, classes=CLASSES).train()

    with torch.no_grad():
        logits = network(_images(shape, 32)).logits
    loss = nn.functional.cross_entropy(logits, torch.arange(32) % CLASSES)

    assert loss < 2 * np.log(CLASSES)
