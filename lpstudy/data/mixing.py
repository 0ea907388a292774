"""Mixtures of the images of a batch: mixup and CutMix."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lpstudy.data.augment import uniforms
from lpstudy.data.order import Order
from lpstudy.outputs import Batch, Partners

MIX = 0x4D495842
"""Hash key of the draws of a batch."""


@dataclass(frozen=True, slots=True)
class Mixing:
    """How batches are mixed: a function of the trial's seed, the epoch and the number of the batch.

    Each image is mixed with another one of its batch; a worker mixes the images of its own share, with the
    same shares of images on all workers. Where both kinds are on, each batch has one of them.
    """

    mixup: float = 0.0
    """Alpha of the Beta distribution of an image's share; 0: no mixup."""
    cutmix: float = 0.0
    """Likewise for CutMix; 0: none."""

    def mix(self, batch: Batch, order: Order, number: int) -> Batch:
        """The mixed images of a batch, with the labels and samples that have the larger share in them.

        Args:
            batch: Normalised images.
            order: Seed and epoch.
            number: The number of the batch in the epoch, counted from 0.
        """
        numbers = uniforms(torch.tensor([number]), 6, order.seed, order.epoch, MIX)[0].tolist()
        kind, one, other, shift, row, column = numbers
        rows = len(batch.labels)
        turn = 1 + int(shift * (rows - 1)) if rows > 1 else 0
        if self.cutmix and (not self.mixup or kind < 0.5):
            share = symmetric_beta(self.cutmix, one, other)
            images, share = cutmix(batch.images, turn, share, (row, column))
        else:
            share = symmetric_beta(self.mixup, one, other)
            images = mixup(batch.images, turn, share)
        labels, samples = batch.labels, batch.samples
        partner_labels, partner_samples = labels.roll(turn), samples.roll(turn)
        if share < 0.5:
            share, samples = 1 - share, partner_samples
            labels, partner_labels = partner_labels, labels
        # A fill, where a number that is copied to a GPU would let the host wait.
        partners = Partners(partner_labels, torch.full((), share, device=images.device))
        return replace(batch, images=images, labels=labels, samples=samples, partners=partners)


def mixup(images: Tensor, turn: int, share: float) -> Tensor:
    """Images * share + images turned by some rows * (1 - share), float32, (m, channels, height, width).

    Source: Zhang et al., arXiv 1710.09412, section 2.
    """
    return torch.lerp(images.roll(turn, 0), images, share)


def cutmix(images: Tensor, turn: int, share: float, centre: tuple[float, float]) -> tuple[Tensor, float]:
    """The images with a box of 1 - share of the area from those turned by some rows; also its true share.

    Args:
        images: float32, shape (m, channels, height, width).
        turn: The rows between an image and the one that its box is from.
        share: The share of the image; more where the box reaches beyond an edge, which cuts it.
        centre: Row and column of the box's centre, in [0, 1) of height and width.

    Source: Yun et al., arXiv 1905.04899, section 3.1, equation 2; rounding as torchvision's `CutMix`.
    """
    height, width = images.shape[2:]
    y, x = int(centre[0] * height), int(centre[1] * width)
    half = 0.5 * math.sqrt(1 - share)
    rows, columns = int(half * height), int(half * width)
    top, bottom = max(y - rows, 0), min(y + rows, height)
    left, right = max(x - columns, 0), min(x + columns, width)
    mixture = images.clone()
    mixture[:, :, top:bottom, left:right] = images[:, :, top:bottom, left:right].roll(turn, 0)
    return mixture, 1 - (bottom - top) * (right - left) / (height * width)


def symmetric_beta(alpha: float, one: float, other: float) -> float:
    """A draw from Beta(alpha, alpha), of two numbers that are even in [0, 1).

    Source: Devroye, "Random variate generation in one line of code", WSC 1996, for the symmetric beta.
    """
    # (u^(-1/alpha) - 1) cos^2, of which the first factor overflows where alpha is small.
    growth = math.expm1(min(-math.log(1 - one) / alpha, 700.0))
    cosine = math.cos(2 * math.pi * other)
    spread = growth * cosine * cosine
    return 0.5 + math.copysign(0.5 * math.sqrt(spread / (1 + spread)), cosine)
