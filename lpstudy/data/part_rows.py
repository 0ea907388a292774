"""The rows of a training set that make up the parts of a study."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lpstudy.data.order import Mixture
from lpstudy.data.partition import stratified_split, subset_per_class
from lpstudy.data.pixels import Pixels
from lpstudy.data.preprocessing import Preprocessing
from lpstudy.data.spec import DataSpec
from lpstudy.data.split import Split
from lpstudy.outputs import NO_LABEL


@dataclass(frozen=True, slots=True)
class PartRows:
    """Positions of the parts within the training set, and what of them has a label."""

    whole: Tensor
    """The training part with all its labels."""
    train: Tensor
    """What a study trains on, the images with a label first."""
    validation: Tensor
    mixture: Mixture | None

    def train_split(self, pixels: Pixels, labels: Tensor, preprocessing: Preprocessing) -> Split:
        """What a study trains on, of its images and labels."""
        if self.mixture is not None:
            labels = labels.clone()
            labels[self.mixture.labelled :] = NO_LABEL
        return Split(pixels, labels, preprocessing, self.mixture)


def part_rows(spec: DataSpec, labels: Tensor, names: tuple[str, ...], official: int) -> PartRows:
    """The parts of the training set.

    Args:
        spec: The shares, the seed and the number of labels.
        labels: int64, shape (n,): images with labels, of which the last `official` are the validation part,
            then those without.
        names: Names of the classes.
        official: The number of images of the official validation part; 0: the part is cut.

    Raises:
        ValueError: A class has too few images, or no image is left without a label.
    """
    labelled = int((labels != NO_LABEL).sum())
    if official:
        whole, validation = torch.arange(labelled - official), torch.arange(labelled - official, labelled)
    else:
        whole, validation = stratified_split(
            labels[:labelled],
            spec.validation_fraction,
            seed=spec.split_seed,
            purpose="validation",
            names=names,
        )
    is_labelled = torch.ones(len(whole), dtype=torch.bool)
    if spec.labels_per_class is not None:
        subset = subset_per_class(labels[whole], spec.labels_per_class, seed=spec.split_seed, names=names)
        is_labelled = torch.zeros(len(whole), dtype=torch.bool)
        is_labelled[subset] = True
    if spec.unlabelled is None:
        return PartRows(whole, whole[is_labelled], validation, None)
    rest = whole[~is_labelled] if spec.adds_rest else whole[:0]
    if spec.adds_rest and not len(rest):
        raise ValueError(
            f"[data] unlabelled: no image is left, for labels_per_class = {spec.labels_per_class} takes all"
        )
    train = torch.cat([whole[is_labelled], rest, torch.arange(labelled, len(labels))])
    return PartRows(whole, train, validation, Mixture(int(is_labelled.sum()), spec.labelled_share))
