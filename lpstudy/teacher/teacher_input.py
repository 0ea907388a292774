"""The input of a teacher from elsewhere: the student's crop with another normalisation and size."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lpstudy.data import Data
from lpstudy.model_file import read_description
from lpstudy.outputs import Network, Outputs
from lpstudy.space import TeacherSpec
from lpstudy.students import Interpolation, PretrainedInput, build, pretrained_input, skeleton


@dataclass(frozen=True, slots=True)
class TeacherInput:
    """Normalisation and size of a teacher's images, where they differ from the data's batches."""

    mean: tuple[float, ...]
    """Mean per channel of pixels in 0..1."""
    std: tuple[float, ...]
    """Standard deviation per channel of pixels in 0..1."""
    height: int
    width: int
    """Height and width are in pixels."""
    interpolation: Interpolation = "bilinear"
    """How the data's images are resized, where they have another size."""


class AdaptedNetwork(Network):
    """A network behind a change of normalisation and size, so that it takes the data's batches.

    Both are linear in the pixels, so that they apply to a normalised batch as well.

    Args:
        network: Takes images as `teacher_input` says.
        teacher_input: Normalisation and size of the network's images.
        data: The data of the batches.
    """

    _scale: Tensor
    _offset: Tensor

    def __init__(self, network: Network, teacher_input: TeacherInput, data: Data) -> None:
        super().__init__()
        self.network = network
        self.map_names, self.middle = network.map_names, network.middle
        self.input_shape = data.input_shape
        self._size = (teacher_input.height, teacher_input.width)
        self._interpolation = teacher_input.interpolation
        mean, std, data_mean, data_std = (
            torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)
            for values in (teacher_input.mean, teacher_input.std, data.mean, data.std)
        )
        self.register_buffer("_scale", (data_std / std).float(), persistent=False)
        self.register_buffer("_offset", ((data_mean - mean) / std).float(), persistent=False)

    @property
    def stages(self) -> tuple[str, ...]:
        """Those of the network."""
        return self.network.stages

    @property
    def pooled(self) -> str | None:
        """That of the network."""
        return self.network.pooled

    def forward(self, images: Tensor, maps: tuple[str, ...] = ()) -> Outputs:
        """Outputs for images of shape (m, channels, height, width), normalised by the data's statistics."""
        images = images * self._scale + self._offset
        if tuple(images.shape[2:]) != self._size:
            images = _resize(images, self._size, self._interpolation)
        outputs: Outputs = self.network(images, maps)
        return outputs


def _resize(images: Tensor, size: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """Images resized as Pillow does; bicubic values beyond 0..255 are not cut off."""
    if interpolation == "nearest":
        return functional.interpolate(images, size=size, mode="nearest-exact")
    return functional.interpolate(images, size=size, mode=interpolation, antialias=True, align_corners=False)


def input_of(spec: TeacherSpec, data: Data) -> TeacherInput | None:
    """The teacher's input: by the study file, else its weights file, else timm; None: the same as the data's.

    Raises:
        ValueError: The input does not suit the data's images.
        OSError: The weights file cannot be read.
    """
    if spec.weights is None:
        return None
    channels, *data_size = data.input_shape
    known = _known_input(spec, data)
    mean, std = spec.mean or known.mean, spec.std or known.std
    rows, columns = [spec.image_size] * 2 if spec.image_size is not None else (known.height, known.width)
    if len(mean) != channels:
        raise ValueError(f"mean has {len(mean)} values but the images have {channels} channels")
    if [rows, columns] == data_size:
        if spec.interpolation is not None:
            raise ValueError(
                f"interpolation has no effect: the teacher's images have the data's {rows}x{columns} pixels"
            )
        return None if (mean, std) == (data.mean, data.std) else TeacherInput(mean, std, rows, columns)
    return TeacherInput(mean, std, rows, columns, spec.interpolation or known.interpolation)


def _known_input(spec: TeacherSpec, data: Data) -> TeacherInput:
    """The input that the weights file states, or timm for weights of its models, or else that of the data."""
    assert spec.weights is not None
    description = read_description(spec.weights)
    if description is not None:
        rows, columns = description.input_shape[1:]
        interpolation = description.interpolation or "bilinear"
        return TeacherInput(description.mean, description.std, rows, columns, interpolation)
    mean, std, rows, columns = data.mean, data.std, *data.input_shape[1:]
    if (published := _published_input(spec)) is None:
        return TeacherInput(mean, std, rows, columns)
    if len(mean) == len(published.mean):  # timm's models of one channel have no statistics of their own
        mean, std = published.mean, published.std
    return TeacherInput(mean, std, published.height, published.width, published.interpolation)


def _published_input(spec: TeacherSpec) -> PretrainedInput | None:
    """The images of timm's weights, where the teacher is one of its models."""
    if spec.family != "timm" or spec.design is None:
        return None
    return pretrained_input(spec.design)


def published_input_remark(spec: TeacherSpec, teacher_input: TeacherInput | None) -> tuple[str, ...]:
    """One line where the teacher's input, or a part of it, is that of timm's weights."""
    if teacher_input is None or spec.weights is None or read_description(spec.weights) is not None:
        return ()
    published = _published_input(spec)
    if published is None or all(getattr(spec, key) is not None for key in ("mean", "std", "image_size")):
        return ()
    size = f"{teacher_input.height}x{teacher_input.width} ({teacher_input.interpolation})"
    mean, std = (", ".join(f"{value:g}" for value in row) for row in (teacher_input.mean, teacher_input.std))
    return (f"the teacher sees images as timm's {published.name}: {size}, mean {mean}, std {std}",)


def input_shape_of(teacher_input: TeacherInput | None, data: Data) -> tuple[int, int, int]:
    """Channels, height and width of the images of the teacher's network."""
    return (
        data.input_shape
        if teacher_input is None
        else (data.input_shape[0], teacher_input.height, teacher_input.width)
    )


def own_network(spec: TeacherSpec, teacher_input: TeacherInput | None, data: Data) -> Network:
    """The teacher's network, initialised by its seed.

    Raises:
        ValueError: The images do not suit the design.
    """
    shape = input_shape_of(teacher_input, data)
    return build(spec.network, input_shape=shape, classes=data.classes, seed=spec.seed)


def adapt_network(network: Network, teacher_input: TeacherInput | None, data: Data) -> Network:
    """The teacher's network behind an `AdaptedNetwork` where its input differs from the data's."""
    return network if teacher_input is None else AdaptedNetwork(network, teacher_input, data)


def teacher_skeleton(spec: TeacherSpec, teacher_input: TeacherInput | None, data: Data) -> Network:
    """The teacher without weights, on the meta device, for the data's batches.

    Raises:
        ValueError: The images do not suit the design.
    """
    shape = input_shape_of(teacher_input, data)
    network = skeleton(spec.network, input_shape=shape, classes=data.classes)
    with torch.device("meta"):
        return adapt_network(network, teacher_input, data).eval()


def untrained_teacher(spec: TeacherSpec, data: Data) -> Network:
    """The untrained teacher for the data's batches: its steps take as long as those of the trained one.

    Raises:
        ValueError: The images do not suit the design.
        OSError: The weights file cannot be read.
    """
    teacher_input = input_of(spec, data)
    return adapt_network(own_network(spec, teacher_input, data), teacher_input, data)
