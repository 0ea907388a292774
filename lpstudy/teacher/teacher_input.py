"""The input of a teacher from elsewhere: the student's crop with another normalisation and size."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lpstudy.data import Data
from lpstudy.model_file import read_description
from lpstudy.outputs import Network, Outputs
from lpstudy.space import TeacherSpec
from lpstudy.students import build, skeleton


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
            images = functional.interpolate(
                images, size=self._size, mode="bilinear", antialias=True, align_corners=False
            )
        outputs: Outputs = self.network(images, maps)
        return outputs


def input_of(spec: TeacherSpec, data: Data) -> TeacherInput | None:
    """The teacher's input by the study file, or else by its weights file; None: the same as the data's.

    Raises:
        ValueError: The input does not suit the data's images.
        OSError: The weights file cannot be read.
    """
    if spec.weights is None:
        return None
    description = read_description(spec.weights)
    channels, rows, columns = data.input_shape
    mean, std = spec.mean or data.mean, spec.std or data.std
    if description is not None:
        mean, std = spec.mean or description.mean, spec.std or description.std
        rows, columns = description.input_shape[1:]
    if spec.image_size is not None:
        rows = columns = spec.image_size
    if len(mean) != channels:
        raise ValueError(f"mean has {len(mean)} values but the images have {channels} channels")
    teacher_input = TeacherInput(mean, std, rows, columns)
    data_input = TeacherInput(data.mean, data.std, *data.input_shape[1:])
    return None if teacher_input == data_input else teacher_input


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
