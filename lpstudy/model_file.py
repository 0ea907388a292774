"""The files of a trained network: `weights.safetensors` and the description of its input.

The same description is the metadata of the weights (key `lpstudy`) and the file `model.json`.
"""

from os import fsencode
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn

from lpstudy.damage import problem_of
from lpstudy.data import Data
from lpstudy.data.images import decode_pixels, pixels_of
from lpstudy.folder import Folder
from lpstudy.outputs import Network
from lpstudy.students import (
    Interpolation,
    ReplacedHead,
    StudentSpec,
    build,
    fit_weights,
    load_weights,
    locate_weights,
    read_metadata,
    read_weights,
    reading_remarks,
    skeleton,
)
from lpstudy.terminal import printable_line
from lpstudy.version import __version__

if TYPE_CHECKING:
    from PIL import Image as Images

WEIGHTS = "weights.safetensors"
DESCRIPTION = "model.json"
KEY = "lpstudy"
"""The metadata's key of the description; the only key, for safetensors writes several in any order."""
LARGEST_DESCRIPTION = 1 << 22
"""Most bytes of a description: 20,000 classes with names of 200 characters."""
LARGEST_SIDE = 1 << 14
"""Most pixels of a side of an image."""

Percent = Annotated[float, Field(ge=0, le=100)]


class ModelDescription(BaseModel):
    """The architecture of a network, and the images that it expects."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    format: Literal[1] = 1
    lpstudy: Annotated[str, Field(max_length=100)] = __version__
    """The version that wrote it."""
    architecture: StudentSpec
    input_shape: tuple[int, int, int]
    """Channels, height, width of an image."""
    mean: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    """Mean per channel of pixels in 0..1, subtracted first."""
    std: tuple[Annotated[float, Field(gt=0, le=1)], ...]
    """Standard deviation per channel of pixels in 0..1, the divisor then."""
    class_names: tuple[str, ...] = Field(min_length=1)
    """Names of the classes in the order of the logits."""
    resizing: Literal["centre_square", "none"]
    """How an image file gets that size: its centre square is resized (bilinear, antialiased); or it must
    have that size."""
    resize: Annotated[int, Field(ge=1, le=LARGEST_SIDE)] | None = None
    """Pixels of an image's shorter side before its centre square is cut out; None: those of the square."""
    interpolation: Interpolation | None = None
    """How images of another size are resized for it where it teaches; None: bilinear."""
    method: Annotated[str, Field(max_length=100)] | None = None
    """The method of its training; None: it was trained elsewhere."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """The number format in which the accuracies were measured."""
    validation_accuracy: Percent | None = None
    test_accuracy: Percent | None = None
    """Accuracy in percent."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        channels, *sides = self.input_shape
        if not 1 <= channels <= 4 or not all(1 <= side <= LARGEST_SIDE for side in sides):
            raise ValueError(f"input_shape {self.input_shape} is not that of images")
        if not len(self.mean) == len(self.std) == channels:
            raise ValueError(f"mean and std must have {channels} values, one a channel")
        if self.architecture.weights is not None:
            raise ValueError("architecture: names a file of weights")
        return self

    def to_json(self) -> str:
        """The description as JSON, the same in both files."""
        return self.model_dump_json(indent=1, exclude_none=True)

    def metadata(self) -> dict[str, str]:
        """The description as metadata of the weights file."""
        return {KEY: self.to_json()}


def describe(architecture: StudentSpec, data: Data, **facts: Any) -> ModelDescription:
    """The description of a network that sees the data's images as its students do."""
    return ModelDescription(
        architecture=architecture.model_copy(update={"weights": None}),
        class_names=data.class_names,
        resizing=data.resizing,
        resize=data.resize,
        **({"input_shape": data.input_shape, "mean": data.mean, "std": data.std} | facts),
    )


def read_description(place: str | Path) -> ModelDescription | None:
    """The description in a weights file's metadata; None where lpstudy did not write the file.

    Raises:
        OSError: It does not exist or cannot be read.
        ValueError: It is no safetensors file, or its description is invalid.
    """
    metadata = read_metadata(place)
    return _parse_description(metadata[KEY], f"{place}: metadata") if KEY in metadata else None


def check_weights(
    place: str | Path,
    architecture: StudentSpec,
    *,
    input_shape: tuple[int, int, int],
    class_names: tuple[str, ...],
) -> tuple[ReplacedHead | None, tuple[str, ...]]:
    """Check a weights file against its network; return a replaced last layer, and remarks.

    Raises:
        OSError: It does not exist or cannot be read.
        ValueError: It is no weights file, or does not fit the network.
    """
    description = read_description(place)
    network = skeleton(architecture, input_shape=input_shape, classes=len(class_names))
    file = read_weights(place)
    try:
        _, head = fit_weights(network, file)
    except ValueError as error:
        if description is None or description.architecture == architecture:
            raise
        labels = f"{description.architecture.label()}, not of {architecture.label()}"
        raise ValueError(f"{place} has the weights of {labels}: {error}") from None
    remarks = reading_remarks(network, file)
    if head is not None:
        return head, (*remarks, str(head))
    if description is not None and description.class_names != class_names:
        other = "the file has as many classes as the data, but with other names or in another order"
        return None, (*remarks, other)
    return None, remarks


class TrainedModel(nn.Module):
    """A network in evaluation mode that takes images as they are: float in 0..1, or uint8 in 0..255."""

    _scale: Tensor
    _offset: Tensor

    def __init__(self, network: Network, description: ModelDescription) -> None:
        super().__init__()
        self.network = network
        """The network, from normalised images to `Outputs`: logits, embedding and maps."""
        self.description = description
        mean, std = torch.tensor(description.mean), torch.tensor(description.std)
        # The very numbers of training: pixels in 0..255 are multiplied, then the offset is subtracted.
        self.register_buffer("_scale", (1.0 / (255.0 * std)).view(-1, 1, 1), persistent=False)
        self.register_buffer("_offset", (mean / std).view(-1, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of the logits."""
        return self.description.class_names

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (m, classes), of images of shape (m, channels, height, width).

        Raises:
            ValueError: The images have another size, or floating-point pixels outside 0..1.
        """
        if tuple(images.shape[1:]) != self.description.input_shape:
            shape, expected = tuple(images.shape), self.description.input_shape
            raise ValueError(f"images must have shape (m, {str(expected)[1:-1]}) but have {shape}")
        if images.is_floating_point():
            if not torch.compiler.is_compiling() and bool(((images < 0) | (images > 1)).any()):
                raise ValueError("floating-point images must lie in 0..1, not normalised; or give uint8")
            images = images * 255.0
        logits: Tensor = self.network(images * self._scale - self._offset).logits
        return logits

    def preprocess(self, path: str | Path) -> Tensor:
        """Load an image file as the network expects it, in 0..1, shape (channels, height, width).

        Raises:
            ValueError: It cannot be read, or has another size although the network's images are not resized.
        """
        return self.read_pixels(path).float() / 255

    def read_pixels(self, path: str | Path) -> Tensor:
        """Load an image file as `preprocess` does, but as the uint8 pixels on which the study has trained."""
        side, resize = self._resizing()
        return self._fit(decode_pixels(fsencode(path), side, resize), str(path))

    def pixels_of(self, image: "Images.Image") -> Tensor:
        """The uint8 pixels of an image of Pillow, as `read_pixels` gives them of its file."""
        return self._fit(pixels_of(image, *self._resizing()), "the image")

    def _resizing(self) -> tuple[int | None, int | None]:
        """The side of the square that is cut out, and that of the image before; None: unchanged."""
        is_square = self.description.resizing == "centre_square"
        return self.description.input_shape[1] if is_square else None, self.description.resize

    def _fit(self, pixels: npt.NDArray[np.uint8], name: str) -> Tensor:
        """RGB pixels in the network's size and number of channels."""
        channels, *size = self.description.input_shape
        if list(pixels.shape[1:]) != size:
            raise ValueError(
                f"{name} has {pixels.shape[2]}x{pixels.shape[1]} pixels, not {size[1]}x{size[0]}"
            )
        if channels == 1:
            red, green, blue = pixels.astype(np.uint32)
            # ITU-R 601-2 luma, as Pillow computes it.
            pixels = ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)[None]
        elif channels != 3:
            raise ValueError(
                f"{name}: the network takes images of {channels} channels, which files do not have"
            )
        return torch.from_numpy(np.array(pixels, order="C"))


def load_model(path: str | Path) -> TrainedModel:
    """Load a network that lpstudy has trained: see `TrainedModel`.

    Args:
        path: `weights.safetensors`, or the folder of a run, of MLflow's artifacts or of a teacher.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no safetensors file, has no description, or does not fit it.
    """
    folder, _ = locate_weights(path)
    in_metadata, in_file = read_description(path), _description_file(folder)
    if in_metadata is not None and in_file is not None and in_metadata != in_file:
        raise ValueError(f"{folder}/{DESCRIPTION} differs from the metadata of the weights")
    description = in_metadata or in_file
    if description is None:
        raise ValueError(f"{path}: no description of the network, neither as metadata nor as {DESCRIPTION}")
    file = read_weights(path)
    shape, classes = description.input_shape, len(description.class_names)
    # Sizes are compared before memory is allocated: the description may name any size.
    _, head = fit_weights(skeleton(description.architecture, input_shape=shape, classes=classes), file)
    if head is not None:
        raise ValueError(f"{file.place}: {head.file_classes} classes, but {classes} class names")
    network = build(description.architecture, input_shape=shape, classes=classes)
    load_weights(network, path)
    return TrainedModel(network, description)


def _description_file(folder: Folder) -> ModelDescription | None:
    if DESCRIPTION not in folder.names():
        return None
    return _parse_description(folder.read(DESCRIPTION), f"{folder}/{DESCRIPTION}")


def _parse_description(content: str | bytes, where: str) -> ModelDescription:
    if len(content) > LARGEST_DESCRIPTION:
        raise ValueError(f"{where}: has more than {LARGEST_DESCRIPTION} bytes")
    try:
        return ModelDescription.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(printable_line(f"{where}: {problem_of(error)[:400]}")) from None
