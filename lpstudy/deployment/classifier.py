"""The classifier of a deployed folder: images in, labels and probabilities out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lpstudy.deployment.config import WEIGHTS, Deployment, read_config
from lpstudy.model_file import TrainedModel, load_model
from lpstudy.space import import_files

if TYPE_CHECKING:
    from PIL.Image import Image

OneImage: TypeAlias = Union["Image", npt.NDArray[np.uint8], Tensor, str, PathLike[str]]
Images: TypeAlias = OneImage | Sequence[OneImage]
BATCH = 500
"""Most images of a forward pass."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a classifier says of one image."""

    label: str
    probability: float
    """That of the label, in 0..1."""
    probabilities: Mapping[str, float]
    """Of every class, in the order of the logits."""


class Classifier:
    """A deployed network; `predict` takes files, images and arrays, one or many.

    Args:
        model: The network.
        deployment: Where it comes from, and what was measured of its files.
    """

    def __init__(self, model: TrainedModel, deployment: Deployment) -> None:
        self.model, self.deployment = model, deployment

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of the logits."""
        return self.model.class_names

    def to(self, device: str | torch.device) -> "Classifier":
        """The same classifier, its network moved to a device."""
        self.model.to(device)
        return self

    def predict(self, images: Images) -> list[Prediction]:
        """Classify images.

        Args:
            images: One image or several:
                a file's path;
                an image of Pillow;
                a NumPy array of uint8, shape (height, width, channels), (height, width) for grey, or
                (m, height, width, channels);
                a tensor, float in 0..1 or uint8, shape (channels, height, width) or (m, ...), of the
                network's size;
                or a list of these. Files, images and arrays are resized as the study resized its files.

        Returns:
            One prediction for each image, in their order.

        Raises:
            ValueError: An image cannot be read, or has a wrong type, shape or size.
        """
        names = self.class_names
        predictions: list[Prediction] = []
        for logits in self._logits(images):
            for row in logits.double().softmax(1).cpu().numpy():
                place = int(row.argmax())
                probabilities = dict(zip(names, row.tolist(), strict=True))
                predictions.append(Prediction(names[place], probabilities[names[place]], probabilities))
        return predictions

    def logits(self, images: Images) -> Tensor:
        """Logits, shape (m, classes), of images: see `predict`."""
        parts = list(self._logits(images))
        return torch.cat(parts) if parts else torch.empty(0, len(self.class_names))

    @torch.no_grad()
    def _logits(self, images: Images) -> Iterator[Tensor]:
        device = next(self.model.parameters()).device
        for batch in _batches(self._pixels(images)):
            yield self.model(batch.to(device))

    def _pixels(self, images: Images) -> Iterator[Tensor]:
        """Each image, uint8 or float in 0..1, shape (channels, height, width)."""
        if isinstance(images, list | tuple):
            for number, image in enumerate(images):
                yield self._in_list(image, number)
        elif isinstance(images, Tensor) and images.dim() == 4:
            yield from images
        elif isinstance(images, np.ndarray) and images.ndim == 4:
            for image in images:
                yield self._one(image)
        else:
            yield self._one(images)

    def _in_list(self, image: Any, number: int) -> Tensor:
        try:
            return self._one(image)
        except ValueError as error:
            raise ValueError(f"image {number} of the list: {error}") from None

    def _one(self, image: Any) -> Tensor:
        from PIL import Image as PillowImage

        if isinstance(image, str | PathLike):
            return self.model.read_pixels(Path(image))
        if isinstance(image, PillowImage.Image):
            return self.model.pixels_of(image)
        if isinstance(image, np.ndarray):
            return self._from_array(image)
        if isinstance(image, Tensor):
            if tuple(image.shape) != self.model.description.input_shape:
                expected = str(self.model.description.input_shape)
                raise ValueError(f"a tensor must have shape {expected} but has {tuple(image.shape)}")
            return image
        raise ValueError(
            "images are paths, images of Pillow, NumPy arrays or tensors, or lists of these, but one is of"
            f" type {type(image).__name__}"
        )

    def _from_array(self, array: npt.NDArray[Any]) -> Tensor:
        from PIL import Image as PillowImage

        channels, *size = self.model.description.input_shape
        if array.dtype != np.uint8:
            raise ValueError(f"an array must be of uint8 but is of {array.dtype}; give floats as a tensor")
        image = array[..., None] if array.ndim == 2 else array
        if image.ndim != 3 or image.shape[2] not in (1, 3, 4, channels) or 0 in image.shape:
            raise ValueError(
                f"an array must have shape (height, width, {channels}) but has {tuple(array.shape)}"
            )
        if image.shape[2] == channels and list(image.shape[:2]) == size and not self.model.description.resize:
            return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))
        if image.shape[2] not in (1, 3, 4):
            raise ValueError(f"an array of {image.shape[2]} channels must have the network's size, {size}")
        return self.model.pixels_of(PillowImage.fromarray(image[..., 0] if image.shape[2] == 1 else image))


def load(folder: str | Path, *, imports: Sequence[str | Path] = ()) -> Classifier:
    """The classifier of a folder that `lpstudy deploy` has written; reads safetensors and JSON alone.

    Args:
        folder: The folder.
        imports: Files with the code of a network of one's own, which is run.

    Raises:
        FileNotFoundError: There is no such folder.
        OSError: It cannot be read.
        ValueError: A file is damaged, or the configuration does not fit the weights.
    """
    import_files([Path(path) for path in imports])
    config = read_config(Path(folder))
    model = load_model(Path(folder) / WEIGHTS)
    if model.description != config.lpstudy.model:
        raise ValueError(f"{folder}: config.json describes another network than {WEIGHTS}")
    return Classifier(model, config.lpstudy)


def _batches(images: Iterator[Tensor]) -> Iterator[Tensor]:
    """The images in batches of at most BATCH, each of one number format."""
    batch: list[Tensor] = []
    for image in images:
        if batch and (len(batch) == BATCH or image.dtype != batch[0].dtype):
            yield torch.stack(batch)
            batch = []
        batch.append(image)
    if batch:
        yield torch.stack(batch)
