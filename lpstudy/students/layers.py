"""Named layers with selectable outputs, for all families of networks."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from lpstudy.outputs import Network, Outputs


def run_layers(
    layers: nn.Sequential, images: Tensor, selected: tuple[str, ...]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run named layers in turn; return the last output and those of the selected layers, in their order."""
    maps = {}
    for name, layer in layers.named_children():
        images = layer(images)
        if name in selected:
            maps[name] = images
    return images, {name: maps[name] for name in selected}


def check_maps(maps: tuple[str, ...], map_names: tuple[str, ...], pooled: str | None = None) -> None:
    """Refuse maps that a network does not have.

    Raises:
        ValueError: A name is neither among `map_names` nor `pooled`.
    """
    if unknown := sorted(set(maps).difference((*map_names, pooled))):
        raise ValueError(f"unknown map {', '.join(unknown)}: this network has {', '.join(map_names)}")


def last_linear(network: nn.Module) -> tuple[str, nn.Linear] | None:
    """The classifier with its name: the layer that a network names, else the last linear one by its position.

    None if there is none.
    """
    for prefix, part in network.named_modules():
        if isinstance(part, Network) and part.classifier_name is not None:
            layer = part.get_submodule(part.classifier_name)
            if isinstance(layer, nn.Linear):  # a student that ends in the teacher's classifier has lost it
                return ".".join(filter(None, (prefix, part.classifier_name))), layer
    linears = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return linears[-1] if linears else None


def classifier_layer(network: Network, input_shape: tuple[int, int, int]) -> tuple[str, nn.Linear]:
    """The linear layer that maps the network's embedding to its logits, with its name.

    One image of zeros is run in evaluation mode, on the device of the weights.

    Raises:
        ValueError: The logits are not a linear layer of the embedding.
    """
    head = last_linear(network)
    passed: list[Tensor] = []

    def store(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        passed.extend((inputs[0], output))

    if head is not None:
        was_training, example = network.training, head[1].weight
        image = torch.zeros(1, *input_shape, device=example.device, dtype=example.dtype)
        handle = head[1].register_forward_hook(store)
        try:
            with torch.no_grad():
                outputs: Outputs = network.eval()(image)
        finally:
            handle.remove()
            network.train(was_training)
        # The very tensors: a layer that happens to have their shapes may be another one.
        if len(passed) == 2 and passed[0] is outputs.embedding and passed[1] is outputs.logits:
            return head
    raise ValueError("its logits are not a linear layer of its embedding")


def convolution(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias, whose padding keeps the size at stride 1; the kernel's side is odd."""
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)


def initialise_convolutions(network: nn.Module) -> None:
    """Draw the convolutions' weights with variance 2 / (kernel^2 * outputs); biases are zero.

    Source: He et al., arXiv 1502.01852, equation 14, as the code of CIFAR's networks uses it: the channels
    of a grouped convolution are counted whole.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def conv_norm(conv: nn.Conv2d) -> nn.Sequential:
    """A convolution and batch normalisation."""
    return nn.Sequential(OrderedDict[str, nn.Module](conv=conv, norm=nn.BatchNorm2d(conv.out_channels)))


def conv_norm_relu(conv: nn.Conv2d) -> nn.Sequential:
    """A convolution, batch normalisation and ReLU."""
    layers = conv_norm(conv)
    layers.add_module("relu", nn.ReLU(inplace=True))
    return layers


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave the channels of equal groups: channel i of group j moves to i * groups + j.

    Source: Zhang et al., arXiv 1707.01083, figure 1.
    """
    images, channels, rows, columns = x.shape
    return x.reshape(images, groups, channels // groups, rows, columns).transpose(1, 2).flatten(1, 2)


def initialise_classifier(classifier: nn.Linear) -> None:
    """Draw the weights with standard deviation 0.01; the bias is zero."""
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)
