"""Any module that ends in a linear layer is a network; the oracle is the module itself, run by hand."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lpstudy.cost import cost
from lpstudy.outputs import Network, Outputs
from lpstudy.students import StudentSpec, as_network, build, fit_weights, load_state
from lpstudy.students.layers import classifier_layer, last_linear
from lpstudy.students.weights_file import WeightsFile

SHAPE = (3, 16, 16)
CLASSES = 5


class HeadFirst(nn.Module):
    """The classifier is defined first and another linear layer last; one pool and one ReLU run twice."""

    def __init__(self, bias: bool = True, end: Any = None) -> None:
        super().__init__()
        self.head = nn.Linear(8, CLASSES, bias=bias)
        self.end = end
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.Dropout(0.5), nn.BatchNorm2d(8))
        self.last = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Linear(8, 8)

    def embedding(self, images: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(images)))
        x = self.last(self.pool(self.relu(self.conv2(x)))).flatten(1)
        return x * torch.sigmoid(self.gate(x))

    def forward(self, images: Tensor) -> Any:
        logits = self.head(self.embedding(images))
        return logits if self.end is None else self.end(logits)


def sequential() -> nn.Sequential:
    body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(inplace=True))
    return nn.Sequential(
        body, nn.Conv2d(6, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)
    )


def torchvision_model() -> nn.Module:
    from torchvision import models

    model: nn.Module = models.resnet18(num_classes=CLASSES)
    return model


def timm_model() -> nn.Module:
    timm = pytest.importorskip("timm")
    model: nn.Module = timm.create_model("test_efficientnet", num_classes=CLASSES)
    return model


class Wrapped(nn.Module):
    """All maps are within the one child."""

    def __init__(self) -> None:
        super().__init__()
        self.net = sequential()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits


MODELS = {
    "head first": (HeadFirst, ("conv1", "conv2", "last"), "conv2", None),
    "without bias": (lambda: HeadFirst(bias=False), ("conv1", "conv2", "last"), "conv2", None),
    "Sequential": (sequential, ("0", "1", "2"), "1", "1"),
    "in one child": (Wrapped, ("net.0", "net.1", "net.2"), "net.1", "net.1"),
    "torchvision": (
        torchvision_model,
        ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool"),
        "layer2",
        "layer4",
    ),
    "timm": (timm_model, ("conv_stem", "bn1", "blocks", "conv_head", "bn2"), "blocks", "bn2"),
    "without maps": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 6), nn.ReLU(), nn.Linear(6, CLASSES)),
        (),
        "embedding",
        None,
    ),
}


def module_of(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODELS[name][0]()


def images(count: int = 4) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=MODELS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Network, str]:
    module = module_of(request.param)
    return module, as_network(module, input_shape=SHAPE, classes=CLASSES), request.param


def test_the_outputs_are_the_modules_own(case: tuple[nn.Module, Network, str]) -> None:
    module, network, name = case
    _, names, middle, pooled = MODELS[name]
    assert module.training
    assert network.train() is network
    twin = copy.deepcopy(module).eval()
    expected: dict[str, Tensor] = {}
    for part in names:
        twin.get_submodule(part).register_forward_hook(
            lambda _, __, output, part=part: expected.__setitem__(part, output.clone())
        )
    logits = twin(images())
    network.eval()
    outputs = network(images(), network.map_names[::-1])

    assert torch.equal(outputs.logits, logits)
    assert (network.map_names, network.middle, network.pooled) == (names, middle, pooled)
    assert list(outputs.maps) == list(names[::-1])
    assert all(torch.equal(outputs.maps[part], expected[part]) for part in names)
    head = classifier_layer(network, SHAPE)[1]
    torch.testing.assert_close(functional.linear(outputs.embedding, head.weight, head.bias), logits)
    if pooled is not None:
        torch.testing.assert_close(outputs.maps[pooled].mean(dim=(2, 3)), outputs.embedding)
    with pytest.raises(ValueError, match="unknown map conv99"):
        network(images(), ("conv99",))


def test_embedding_and_maps_carry_gradients_in_training(case: tuple[nn.Module, Network, str]) -> None:
    _, network, _ = case
    network.train()
    outputs = network(images(), network.map_names)
    (gradient,) = torch.autograd.grad(outputs.logits.sum(), outputs.embedding, retain_graph=True)
    head = classifier_layer(network, SHAPE)[1]
    torch.testing.assert_close(gradient, head.weight.sum(0).expand_as(gradient))
    inputs = images().requires_grad_()
    for values in network(inputs, network.map_names).maps.values():
        assert torch.autograd.grad(values.square().sum(), inputs, retain_graph=True)[0].any()


def test_a_file_with_the_modules_own_names_fits(case: tuple[nn.Module, Network, str]) -> None:
    module, network, _ = case
    tensors = {name: value + 1 for name, value in module.state_dict().items()}
    state, head = fit_weights(network, WeightsFile("file", b"", "", tensors))
    load_state(network, state)
    assert head is None
    assert all(torch.equal(value, tensors[name]) for name, value in module.state_dict().items())


def test_another_class_count_replaces_the_classifier_wherever_it_is_defined() -> None:
    network = as_network(HeadFirst(), input_shape=SHAPE, classes=CLASSES)
    tensors = HeadFirst().state_dict() | {"head.weight": torch.ones(9, 8), "head.bias": torch.ones(9)}
    _, head = fit_weights(network, WeightsFile("file", b"", "", tensors))
    assert str(head) == "the file has 9 classes, the data 5: the last layer (head) is new"
    assert last_linear(nn.Sequential(network)) == ("0.network.head", network.get_submodule("network.head"))


def test_macs_and_shapes_are_those_of_the_module_without_weights(
    case: tuple[nn.Module, Network, str],
) -> None:
    module, network, name = case
    with torch.device("meta"):
        meta = as_network(MODELS[name][0](), input_shape=SHAPE, classes=CLASSES)
    assert all(value.is_meta for value in meta.state_dict().values())
    assert (meta.map_names, meta.middle) == (network.map_names, network.middle)
    assert meta.pooled is None
    assert cost(meta, SHAPE) == cost(module, SHAPE) == cost(network, SHAPE)
    with_weights = as_network(
        MODELS[name][0]().to("meta"), input_shape=SHAPE, classes=CLASSES, make=MODELS[name][0]
    )
    assert with_weights.pooled == network.pooled


def test_making_one_changes_neither_modes_nor_statistics_nor_random_states() -> None:
    module = HeadFirst()
    module.conv2.eval()
    state, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    network = as_network(module, input_shape=SHAPE, classes=CLASSES)
    assert network.pooled is None
    assert torch.equal(torch.get_rng_state(), random)
    assert (module.training, module.conv2.training, module.conv2[1].training) == (True, False, False)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert not [part for part in module.modules() if part._forward_hooks or part._forward_pre_hooks]


def test_layers_with_dots_are_the_maps_in_the_order_in_which_they_run() -> None:
    network = as_network(sequential(), input_shape=SHAPE, classes=CLASSES, layers=("1", "0.0"))
    assert network.map_names == ("0.0", "1")
    assert network(images(), ("0.0",)).maps["0.0"].min() < 0  # before the in-place ReLU


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("conv", r"layers: there is no submodule 'conv'; some that give maps are conv2, conv1, "),
        ("relu", "layers: relu runs 2 times for an image; a map's layer runs once"),
        ("gate", r"layers: gate gives shape \(2, 8\), not \(m, channels, height, width\)"),
    ],
)
def test_layers_that_give_no_map_are_refused(layer: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        as_network(HeadFirst(), input_shape=SHAPE, classes=CLASSES, layers=("conv1", layer))


class Reshaping(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.view(3, 7)


class InTrainingAnother(HeadFirst):
    def forward(self, images: Tensor) -> Any:
        logits = super().forward(images)
        return (logits, logits) if self.training else logits


CONV_HEAD = nn.Sequential(nn.Conv2d(3, CLASSES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
ADVICE = r"return what the last linear layer gives, without softmax, or write a lpstudy\.outputs\.Network"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            HeadFirst(end=lambda x: SimpleNamespace(logits=x)),
            rf"HeadFirst returns a SimpleNamespace: .*{ADVICE}",
        ),
        (HeadFirst(end=lambda x: x.softmax(1)), rf"not the output of a linear layer; .* is head: {ADVICE}"),
        (CONV_HEAD, rf"the logits of Sequential are not the output of a linear layer: {ADVICE}"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(768, 9)),
            r"the logits of Sequential have shape \(m, 9\) but must have \(m, 5\)",
        ),
        (nn.Linear(16, CLASSES), "the logits of Linear are not the output of a linear layer"),
        (nn.Conv2d(4, 5, 3), "Conv2d cannot take images of 3x16x16: RuntimeError: Given groups=1"),
        (
            Reshaping(),
            r"Reshaping cannot take images of 3x16x16: RuntimeError at .*test_module_net\.py:\d+: sh",
        ),
    ],
)
def test_other_modules_are_refused_in_one_line(module: nn.Module, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        as_network(module, input_shape=SHAPE, classes=CLASSES)
    assert "\n" not in str(caught.value)


def test_another_output_in_training_is_refused_before_anything_trains() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="returns a tuple in training mode: it must"):
        as_network(InTrainingAnother(), input_shape=SHAPE, classes=CLASSES)


class Own(Network):
    map_names, middle = (), "embedding"

    def __init__(self, outputs: Any = None) -> None:
        super().__init__()
        self.fc = nn.Linear(768, CLASSES)
        self.outputs = outputs

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Any:
        features = images.flatten(1)
        return self.outputs(self.fc(features), features) if self.outputs else self.fc(features)


def test_a_network_is_used_as_it_is_and_its_outputs_are_checked() -> None:
    own = Own(Outputs)
    assert as_network(own, input_shape=SHAPE, classes=CLASSES) is own
    assert own.input_shape == SHAPE
    for module, layers, words in (
        (Own(Outputs), ("fc",), "layers: Own is a Network, whose map_names are its maps"),
        (Own(), None, "Own is a Network and returns a Tensor: it must return Outputs"),
        (Own(lambda x, y: Outputs(x, y[..., None])), None, r"embedding .* but has \(2, 768, 1\)"),
    ):
        with pytest.raises(ValueError, match=words):
            as_network(module, input_shape=SHAPE, classes=CLASSES, layers=layers)
    with pytest.raises(ValueError, match=r"have shape \(m, 5\) but must have \(m, 6\)"):
        as_network(own, input_shape=SHAPE, classes=6)


class Logits(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images).logits
        return logits


def test_it_exports_and_runs_under_bf16_autocast() -> None:
    network = as_network(HeadFirst(), input_shape=SHAPE, classes=CLASSES).eval()
    batch = torch.export.Dim("batch", max=64)
    program = torch.export.export(Logits(network), (images(),), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(program.module()(images(3)), network(images(3)).logits)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(images(), ("conv1",))
    assert {outputs.logits.dtype, outputs.embedding.dtype, outputs.maps["conv1"].dtype} == {torch.bfloat16}


def test_it_gives_what_the_family_of_the_same_model_gives() -> None:
    torch.manual_seed(0)
    spec = StudentSpec(family="torchvision", design="resnet18")
    family = build(spec, input_shape=SHAPE, classes=CLASSES).eval()
    network = as_network(torchvision_model(), input_shape=SHAPE, classes=CLASSES).eval()
    network.load_state_dict(family.state_dict())
    mine, theirs = network(images(), ("layer2",)), family(images(), ("layer2",))
    assert torch.equal(mine.embedding, theirs.embedding)
    assert torch.equal(mine.maps["layer2"], theirs.maps["layer2"])
    assert (network.map_names, network.stages, network.pooled) == (
        family.map_names,
        family.stages,
        family.pooled,
    )
