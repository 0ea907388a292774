"""The images as a teacher from elsewhere wants them: the student's very crop, normalised and resized anew."""

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
    """What a teacher was trained on, where that is not what the data's batches hold."""

    mean: tuple[float, ...]
    """Per channel, of pixels in 0..1."""
    std: tuple[float, ...]
    """Per channel, of pixels in 0..1."""
    height: int
    width: int
    """In pixels."""


class AdaptedNetwork(Network):
    """A network behind a change of normalisation and size; it takes batches of the data as its students do.

    Both are linear in the pixels, so that it makes no difference that the batch is normalised already.

    Args:
        network: Takes images as `wanted` says.
        wanted: By the network.
        data: Whose batches come in.
    """

    _scale: Tensor
    _offset: Tensor

    def __init__(self, network: Network, wanted: TeacherInput, data: Data) -> None:
        super().__init__()
        self.network = network
        self.map_names, self.middle = network.map_names, network.middle
        self._size = (wanted.height, wanted.width)
        mean, std, from_mean, from_std = (
            torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)
            for values in (wanted.mean, wanted.std, data.mean, data.std)
        )
        self.register_buffer("_scale", (from_std / std).float(), persistent=False)
        self.register_buffer("_offset", ((from_mean - mean) / std).float(), persistent=False)

    def forward(self, images: Tensor, maps: frozenset[str] = frozenset()) -> Outputs:
        """Outputs for images of shape (m, channels, height, width), normalised by the data's statistics."""
        images = images * self._scale + self._offset
        if tuple(images.shape[2:]) != self._size:
            images = functional.interpolate(
                images, size=self._size, mode="bilinear", antialias=True, align_corners=False
            )
        outputs: Outputs = self.network(images, maps)
        return outputs


def input_of(spec: TeacherSpec, data: Data) -> TeacherInput | None:
    """What the study file, or else its weights file, says of the teacher's images; None: as the data's.

    Raises:
        ValueError: It does not suit the data's images.
        OSError: The weights file cannot be read.
    """
    if spec.weights is None:
        return None
    written = read_description(spec.weights)
    channels, rows, columns = data.input_shape
    mean, std = spec.mean or data.mean, spec.std or data.std
    if written is not None:
        mean, std = spec.mean or written.mean, spec.std or written.std
        rows, columns = written.input_shape[1:]
    if spec.image_size is not None:
        rows = columns = spec.image_size
    if len(mean) != channels:
        raise ValueError(f"mean has {len(mean)} values but the images have {channels} channels")
    wanted = TeacherInput(mean, std, rows, columns)
    as_it_is = TeacherInput(data.mean, data.std, *data.input_shape[1:])
    return None if wanted == as_it_is else wanted


def input_shape_of(wanted: TeacherInput | None, data: Data) -> tuple[int, int, int]:
    """Channels, height and width of the images that the teacher's own network takes."""
    return data.input_shape if wanted is None else (data.input_shape[0], wanted.height, wanted.width)


def bare_network(spec: TeacherSpec, wanted: TeacherInput | None, data: Data) -> Network:
    """The teacher's own network, initialised by its seed.

    Raises:
        ValueError: The images do not suit the design.
    """
    shape = input_shape_of(wanted, data)
    return build(spec.network, input_shape=shape, classes=data.classes, seed=spec.seed)


def adapt_network(network: Network, wanted: TeacherInput | None, data: Data) -> Network:
    """The teacher's own network, made to take the data's batches."""
    return network if wanted is None else AdaptedNetwork(network, wanted, data)


def teacher_skeleton(spec: TeacherSpec, wanted: TeacherInput | None, data: Data) -> Network:
    """The teacher without weights, on the meta device, as it takes the data's batches.

    Raises:
        ValueError: The images do not suit the design.
    """
    shape = input_shape_of(wanted, data)
    network = skeleton(spec.network, input_shape=shape, classes=data.classes)
    with torch.device("meta"):
        return adapt_network(network, wanted, data).eval()


def untrained_teacher(spec: TeacherSpec, data: Data) -> Network:
    """The teacher as initialised, as it takes the data's batches: a step takes as long as the trained one's.

    Raises:
        ValueError: The images do not suit the design.
        OSError: The weights file cannot be read.
    """
    wanted = input_of(spec, data)
    return adapt_network(bare_network(spec, wanted, data), wanted, data)
