"""Students and teachers: one family per file, each giving logits, an embedding and named maps."""

from functools import cache

import torch

from lpstudy.imported_names import code_at
from lpstudy.outputs import Network
from lpstudy.students import maxout
from lpstudy.students.convnet import ConvNet
from lpstudy.students.families import CODE, FAMILIES, check_code, declare_family, register_family
from lpstudy.students.mobilenetv2 import MobileNetV2
from lpstudy.students.module_family import MODULE, build_module, module_label
from lpstudy.students.module_net import ModuleNet, as_network
from lpstudy.students.resnet import cifar_resnet, resnet50_small
from lpstudy.students.reused_head import HeadShape, ReusedHeadNetwork
from lpstudy.students.shufflenetv1 import ShuffleNetV1
from lpstudy.students.shufflenetv2 import ShuffleNetV2
from lpstudy.students.spec import Interpolation, ReusedHead, StudentSpec
from lpstudy.students.stem import has_small_stem
from lpstudy.students.timm import PretrainedInput, TimmNet, pretrained_input
from lpstudy.students.vgg import VGG
from lpstudy.students.weight_loading import (
    ReplacedHead,
    fit_weights,
    load_state,
    load_weights,
    reading_remarks,
)
from lpstudy.students.weights_file import (
    WeightsFile,
    locate_weights,
    read_metadata,
    read_weights,
    read_weights_file,
)
from lpstudy.students.wrn import WideResNet

__all__ = [
    "HeadShape",
    "Interpolation",
    "ModuleNet",
    "PretrainedInput",
    "ReplacedHead",
    "ReusedHead",
    "ReusedHeadNetwork",
    "StudentSpec",
    "WeightsFile",
    "as_network",
    "build",
    "check_code",
    "code_of",
    "declare_family",
    "fit_weights",
    "has_small_stem",
    "load_state",
    "load_weights",
    "locate_weights",
    "module_label",
    "pretrained_input",
    "read_metadata",
    "read_weights",
    "read_weights_file",
    "reading_remarks",
    "register_family",
    "skeleton",
]


def code_of(family: str, design: str | None) -> str:
    """SHA-256 of the imported code of a network; empty for a built-in family."""
    if family == MODULE and design is not None:
        return code_at(design)
    return CODE.get(family, "")


def skeleton(spec: StudentSpec, *, input_shape: tuple[int, int, int], classes: int) -> Network:
    """The network of a spec without weights, on the meta device.

    Raises:
        ValueError: The images do not suit the design.
    """
    with torch.device("meta"):
        return build(spec, input_shape=input_shape, classes=classes)


def build(spec: StudentSpec, *, input_shape: tuple[int, int, int], classes: int, seed: int = 0) -> Network:
    """The network of a spec, in training mode on the CPU; under `torch.device("meta")`, without weights.

    The seed alone determines the weights. Global random states do not change.

    Args:
        spec: The family and its size.
        input_shape: (channels, height, width) of an image.
        classes: Number of logits.
        seed: Seed of the initial weights; with `spec.weights`, of a replaced head. The classifier of
            `spec.head` must then be filled in: `ReusedHeadNetwork.reuse`.

    Raises:
        ValueError: The images do not suit the design, or the weights do not fit.
        FileNotFoundError: `spec.weights` does not exist.
    """
    if min(input_shape) < 1 or classes < 1:
        raise ValueError(
            f"images of shape {input_shape} in {classes} classes: every number must be at least 1"
        )
    is_meta = torch.get_default_device().type == "meta"
    with torch.random.fork_rng(devices=[]), torch.device("meta" if is_meta else "cpu"):
        torch.default_generator.manual_seed(seed)
        network = _construct(spec, input_shape, classes)
        if spec.weights is not None and not is_meta:
            load_weights(network, spec.weights)
        if spec.head is not None:
            teacher = _head_shape(spec.head, input_shape, classes)
            network = ReusedHeadNetwork(network, teacher, input_shape=input_shape, classes=classes)
    network.input_shape = input_shape
    return network


@cache
def _head_shape(head: ReusedHead, student: tuple[int, int, int], classes: int) -> HeadShape:
    shape = head.input_shape(student)
    try:
        return HeadShape.of(skeleton(head.network, input_shape=shape, classes=classes), shape)
    except ValueError as error:
        raise ValueError(f"a student cannot end in the classifier of this teacher: {error}") from None


def _construct(spec: StudentSpec, input_shape: tuple[int, int, int], classes: int) -> Network:
    match spec:
        case StudentSpec(family=family) if family in FAMILIES:
            return FAMILIES[family](spec, input_shape=input_shape, classes=classes)
        case StudentSpec(family="module", design=str(name), layers=layers):
            return build_module(name, spec.sizes, layers, input_shape=input_shape, classes=classes)
        case StudentSpec(family="torchvision", design=str(name), stem=stem):
            from lpstudy.students.torchvision import TorchvisionNet

            return TorchvisionNet(name, stem=stem, input_shape=input_shape, classes=classes)
        case StudentSpec(family="timm", design=str(name)):
            return TimmNet(name, input_shape=input_shape, classes=classes)
        case StudentSpec(family="maxout", design=str(name)):
            return maxout.named_design(name, input_shape=input_shape, classes=classes)
        case StudentSpec(family="maxout", depth=int(depth), width=int(width)):
            return maxout.scaled_net(depth=depth, width=width, input_shape=input_shape, classes=classes)
        case StudentSpec(family="convnet", depth=int(depth), width=int(width)):
            return ConvNet(depth=depth, width=width, input_shape=input_shape, classes=classes)
        case StudentSpec(family="wrn", depth=int(depth), width=int(width)):
            return WideResNet(depth=depth, width=width, input_shape=input_shape, classes=classes)
        case StudentSpec(family="resnet", depth=int(depth), width=int(width)):
            return cifar_resnet(depth=depth, width=width, input_shape=input_shape, classes=classes)
        case StudentSpec(family="resnet50_small"):
            return resnet50_small(input_shape=input_shape, classes=classes)
        case StudentSpec(family="vgg", depth=int(depth), width=int(width)):
            return VGG(depth=depth, width=width, input_shape=input_shape, classes=classes)
        case StudentSpec(family="mobilenetv2", width=int(width)):
            return MobileNetV2(width=width, input_shape=input_shape, classes=classes)
        case StudentSpec(family="shufflenetv1", width=int(width)):
            return ShuffleNetV1(width=width, input_shape=input_shape, classes=classes)
        case StudentSpec(family="shufflenetv2", width=int(width)):
            return ShuffleNetV2(width=width, input_shape=input_shape, classes=classes)
    raise ValueError(f"{spec.family} needs a design, or depth and width")
