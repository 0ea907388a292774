"""Any classification model of torchvision that ends in a linear layer, for ImageNet-sized images."""

from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from lpstudy.one_line import one_line
from lpstudy.outputs import Network, Outputs
from lpstudy.students.layers import check_maps, last_linear
from lpstudy.students.model_hooks import maps_with_weights, middle_map, outputs_by_hooks
from lpstudy.students.pooled_net import averaged_map
from lpstudy.students.stem import shrink_stem


class TorchvisionNet(Network):
    """A torchvision model without its pretrained weights and without auxiliary heads.

    The embedding is the input of the last linear layer. The maps are those outputs of the model's children
    that have the shape (m, channels, height, width), before an in-place operation on them.

    Args:
        name: A name of `torchvision.models.list_models(module=torchvision.models)`.
        stem: `small` for a first convolution of 3x3 with stride 1 and no max pool; None for the model's own.
        input_shape: (3, height, width) of an image.
        classes: Number of logits.

    Raises:
        ValueError: The model has no linear classifier, or cannot take such images.
    """

    def __init__(
        self, name: str, *, stem: Literal["small"] | None, input_shape: tuple[int, int, int], classes: int
    ) -> None:
        super().__init__()
        if input_shape[0] != 3:
            raise ValueError(f"{name} takes images of 3 channels but got {input_shape[0]}")

        def model() -> nn.Module:
            model = _model(name, input_shape, classes)
            if stem is not None:
                shrink_stem(model, name)
            return model

        shapes = _child_shapes(name, input_shape, model)
        self.network = model()
        head = last_linear(self.network)
        if head is None:
            raise ValueError(f"{name} has no linear classifier and so no embedding: choose another design")
        self._head = head[0]
        self._name, self._stem, self._input_shape = name, stem, input_shape
        self.map_names = tuple(shapes)
        self.middle = middle_map(self.network, self.map_names)

    @property
    def stages(self) -> tuple[str, ...]:
        """The maps of the model's children with matrix weights: no normalisation, ReLU or pool."""
        return maps_with_weights(self.network, self.map_names)

    @property
    def pooled(self) -> str | None:
        """The first map whose average over positions is the embedding, found by one image."""
        return _pooled(self._name, self._stem, self._input_shape)

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        """Outputs for images of shape (m, 3, height, width)."""
        check_maps(maps, self.map_names)
        return outputs_by_hooks(self.network, images, head=self._head, maps=maps)


def _model(name: str, input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The model as torchvision initialises it, for the image size where its weights depend on it."""
    _, rows, columns = input_shape
    options: dict[str, object] = {}
    if name in ("googlenet", "inception_v3"):
        # Their published weights expect the input that transform_input makes of a normalised image.
        options = {"aux_logits": False, "transform_input": True, "init_weights": True}
    elif name.startswith("vit_"):
        options = {"image_size": rows}
    elif name.startswith("maxvit_"):
        options = {"input_size": (rows, columns)}
    if name.startswith("regnet_") and torch.get_default_device().type == "meta":
        # RegNet computes its widths with tensors, which have no values on the meta device.
        with torch.device("cpu"):
            return _get_model(name, classes, options).to("meta")
    return _get_model(name, classes, options)


def _get_model(name: str, classes: int, options: dict[str, object]) -> nn.Module:
    from torchvision import models

    model: nn.Module = models.get_model(name, num_classes=classes, **options)
    return model


def _child_shapes(
    name: str, input_shape: tuple[int, int, int], make_model: Callable[[], nn.Module]
) -> dict[str, torch.Size]:
    """Shapes of the maps of the model's children for one image, in the order in which they run."""
    shapes: dict[str, torch.Size] = {}

    def shape_hook(child: str) -> Callable[[nn.Module, object, object], None]:
        def store(_: nn.Module, __: object, output: object) -> None:
            if isinstance(output, Tensor) and output.dim() == 4:
                shapes[child] = output.shape

        return store

    try:
        with torch.device("meta"):
            model = make_model().eval()
            for child, module in model.named_children():
                module.register_forward_hook(shape_hook(child))
            model(torch.empty(1, *input_shape))
    except (AssertionError, RuntimeError, ValueError) as error:
        size = f"{input_shape[1]}x{input_shape[2]}"
        reason = one_line(error)
        raise ValueError(f"{name} cannot take images of {size} pixels: {reason}") from error
    if "permute" in shapes:  # Swin: what precedes it has the channels last
        names = list(shapes)
        for child in names[: names.index("permute")]:
            del shapes[child]
    return shapes


@cache
def _pooled(name: str, stem: Literal["small"] | None, input_shape: tuple[int, int, int]) -> str | None:
    return averaged_map(
        lambda: TorchvisionNet(name, stem=stem, input_shape=input_shape, classes=2), input_shape
    )
