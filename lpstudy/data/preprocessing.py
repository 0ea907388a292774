"""From uint8 images to the batches of a network: augmentation of a view, then normalisation."""

from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from lpstudy.data.augment import UNLIMITED, augment, placement, positions, uniforms
from lpstudy.data.erasing import erase, erased_boxes
from lpstudy.data.mixing import Mixing
from lpstudy.data.policies import Policy
from lpstudy.data.resized_crop import BoxRange, ViewCrops
from lpstudy.outputs import Batch

FLIP = 0x464C4950
"""Hash key of the flips of crops of random size."""


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """The samples of a batch, int64, shape (m,): on the CPU, and their copy on the device of the labels."""

    host: Tensor
    copy: Tensor


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The conversion of uint8 images to the batches of a network."""

    mean: tuple[float, ...]
    """Mean per channel of pixels in [0, 1]."""
    std: tuple[float, ...]
    """Standard deviation per channel of pixels in [0, 1]."""
    pad: int = 0
    flip: bool = False
    seed: int = 0
    """The data's seed, which determines all that is drawn of a sample's view."""
    view_limit: int | None = None
    """The number of views in use; None: all."""
    resized_crop: BoxRange | None = None
    """The boxes that crops are drawn from, in place of crops of the padded image."""
    policy: Policy | None = None
    """RandAugment or TrivialAugment."""
    erasing: float = 0.0
    """The share of the images in which a box is erased."""
    mixing: Mixing | None = None
    """How the batches of an epoch are mixed."""

    @property
    def distinct_views(self) -> int:
        """The number of distinct views of each sample."""
        is_unlimited = self.resized_crop is not None or self.policy is not None or self.erasing > 0
        return UNLIMITED if is_unlimited else positions(self.pad, self.flip)

    @property
    def views(self) -> int:
        """The number of views of each sample in use."""
        return self.distinct_views if self.view_limit is None else self.view_limit

    def with_views(self, views: int) -> "Preprocessing":
        """The same preprocessing with this number of views.

        Raises:
            ValueError: The number is below 1 or above that of the distinct views.
        """
        limit = self.distinct_views
        if not 1 <= views <= limit:
            raise ValueError(f"views must lie in [1, {limit}] but is {views}")
        return replace(self, view_limit=views)

    def crops(self, view: int) -> ViewCrops | None:
        """The crops of a view that `augmented_batch` expects; None where it makes them itself."""
        return None if self.resized_crop is None else ViewCrops(self.resized_crop, self.seed, view)

    def augmented_batch(
        self, images: Tensor, labels: Tensor, samples: "Rows", view: int, device: torch.device
    ) -> Batch:
        """The batch of this view of uint8 images of shape (m, channels, height, width): see `crops`."""
        images = self._crop_and_flip(_to_device(images, device), samples, view)
        if self.policy is not None:
            images = self.policy.apply(images, samples.host, seed=self.seed, view=view)
        batch = self._batch(images, labels, samples.copy, view, device)
        if self.erasing:
            size = (images.shape[2], images.shape[3])
            boxes = erased_boxes(samples.host, size, probability=self.erasing, seed=self.seed, view=view)
            erase(batch.images, boxes)
        return batch

    def _crop_and_flip(self, images: Tensor, samples: "Rows", view: int) -> Tensor:
        """The images cropped and flipped, or only flipped where they are crops already."""
        device = images.device
        if self.resized_crop is None and positions(self.pad, self.flip) > 1:
            place = view % positions(self.pad, self.flip)
            crops_and_flips = placement(samples.copy, place, pad=self.pad, flip=self.flip, seed=self.seed)
            dy, dx, flips = (value.to(device, non_blocking=True) for value in crops_and_flips)
            return augment(images, dy, dx, flips, self.pad)
        if self.resized_crop is not None and self.flip:
            draws = uniforms(samples.host, 1, self.seed, view, FLIP)
            flips = (draws < 0.5).to(device, non_blocking=True)
            return torch.where(flips[:, :, None, None], images.flip(3), images)
        return images

    def plain_batch(self, images: Tensor, labels: Tensor, samples: Tensor, device: torch.device) -> Batch:
        """The batch of uint8 images without augmentation, view 0."""
        return self._batch(_to_device(images, device), labels, samples, 0, device)

    def _batch(
        self, images: Tensor, labels: Tensor, samples: Tensor, view: int, device: torch.device
    ) -> Batch:
        scale, offset = _normalisation(self.mean, self.std, device)
        pixels = images.to(torch.float32).mul_(scale).sub_(offset)
        return Batch(
            pixels,
            labels.to(device, non_blocking=True),
            samples.to(device, non_blocking=True),
            view,
        )


def _to_device(images: Tensor, device: torch.device) -> Tensor:
    """Copy images to the device; from pinned memory to a GPU, which copies while it computes."""
    if device.type == "cuda" and images.device.type == "cpu":
        images = images.pin_memory()
    return images.to(device, non_blocking=True)


@cache
def _normalisation(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """The factor of the pixels and the offset subtracted then; both of shape (channels, 1, 1)."""
    means = torch.tensor(mean, device=device).view(-1, 1, 1)
    stds = torch.tensor(std, device=device).view(-1, 1, 1)
    return 1.0 / (255.0 * stds), means / stds
