import socket
import sys

import pytest
import torch

from lpstudy.cost import cost_of
from lpstudy.students import StudentSpec, build
from lpstudy.students.timm import pretrained_input

timm = pytest.importorskip("timm", reason="the extra timm is not installed")

SHAPE = (3, 64, 64)


def _spec(design: str) -> StudentSpec:
    return StudentSpec(family="timm", design=design)


@pytest.mark.parametrize(
    ("design", "shape"),
    [
        ("test_resnet", SHAPE),
        ("test_vit", (3, 32, 48)),
        ("test_efficientnet", SHAPE),
        ("test_mambaout", SHAPE),
    ],
)
def test_logits_embedding_and_maps_are_timm_s_own(design: str, shape: tuple[int, int, int]) -> None:
    network = build(_spec(design), input_shape=shape, classes=5, seed=1).eval()
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    options = {"img_size": shape[1:]} if "vit" in design else {}
    model = timm.create_model(design, pretrained=False, num_classes=5, **options).eval()
    model.load_state_dict({name.removeprefix("network."): v for name, v in network.state_dict().items()})

    outputs = network(images, network.map_names)

    assert torch.equal(outputs.logits, model(images))
    features = model.forward_features(images)
    assert torch.equal(outputs.embedding, model.forward_head(features, pre_logits=True))
    maps = model.forward_intermediates(images, intermediates_only=True)
    assert list(outputs.maps) == [f"feature{index}" for index in range(len(maps))]
    assert all(torch.equal(a, b) for a, b in zip(outputs.maps.values(), maps, strict=True))


@pytest.mark.parametrize(
    ("design", "parameters", "giga"),
    [("resnet18", 11_689_512, 1.8), ("vit_tiny_patch16_224", 5_717_416, 1.3)],
)
def test_models_have_their_published_size(design: str, parameters: int, giga: float) -> None:
    """Source: timm's results of ImageNet, million parameters and giga-MACs."""
    cost = cost_of(_spec(design), input_shape=(3, 224, 224), classes=1000)

    assert cost.parameters == parameters
    assert round(cost.macs / 1e9, 1) == giga


def test_a_name_with_the_tag_of_weights_is_the_network_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    plain, tagged = (
        build(_spec(design), input_shape=SHAPE, classes=5, seed=2).state_dict()
        for design in ("test_resnet", "test_resnet.r160_in1k")
    )

    assert all(torch.equal(tagged[name], value) for name, value in plain.items())
    assert _spec("test_resnet.r160_in1k").label() == "test_resnet-r160_in1k"


@pytest.mark.parametrize(
    ("design", "message"),
    [
        (None, "timm needs design"),
        ("resnet19", "unknown timm design 'resnet19': did you mean resnet1"),
        ("resnet18.a9_in1k", r"unknown timm design 'resnet18.a9_in1k': did you mean resnet18\.a\d_in1k"),
        ("hf-hub:timm/resnet18.a1_in1k", "unknown timm design 'hf-hub:timm/resnet18.a1_in1k'"),
        ("local-dir:/tmp", "unknown timm design 'local-dir:/tmp'"),
        ("xyzzy", r"unknown timm design 'xyzzy': timm\.list_models\(\) has their names"),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_are_close(design: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StudentSpec(family="timm", design=design)


@pytest.mark.parametrize(
    ("design", "shape", "message"),
    [
        ("resnetv2_18", SHAPE, "resnetv2_18 has no linear classifier and so no embedding"),
        ("levit_128s", (3, 224, 224), "levit_128s has no linear classifier and so no embedding"),
        ("volo_d1_224", (3, 224, 224), "volo_d1_224 has no linear classifier and so no embedding"),
        ("test_vit", (3, 8, 8), "test_vit cannot take images of 8x8 pixels"),
    ],
)
def test_what_is_no_network_of_this_kind_is_refused_in_one_line(
    design: str, shape: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build(_spec(design), input_shape=shape, classes=5)

    assert "\n" not in str(caught.value)


def test_the_images_of_its_weights_are_known() -> None:
    known = pretrained_input("resnet18")

    assert known == pretrained_input("resnet18.a1_in1k")
    assert (known.name, known.height, known.width) == ("resnet18.a1_in1k", 224, 224)
    assert (known.mean, known.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert known.interpolation == "bicubic"


def test_without_timm_the_family_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(ValueError, match=r"needs the package timm.*: pip install 'lpstudy\[timm\]'"):
        _spec("resnet18")
