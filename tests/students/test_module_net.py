"""Any module that ends in a linear layer is a network; the oracle is the module itself, run by hand."""

import copy

import pytest
import torch
from module_nets import CLASSES, MODELS, SHAPE, HeadFirst, images, module_of, sequential, torchvision_model
from torch import Tensor, nn
from torch.nn import functional

from lpstudy.cost import cost
from lpstudy.outputs import Network
from lpstudy.students import StudentSpec, as_network, build, fit_weights, load_state
from lpstudy.students.layers import classifier_layer, last_linear
from lpstudy.students.weights_file import WeightsFile


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
