"""Test accuracies seed by seed, with the images behind them, and the difference of two methods.

Two networks of one seed differ on the *discordant* images, which one of them alone classifies correctly. With
x_si = 1, -1 or 0 where the first, the second or neither alone is right on image i with seed s, the mean
difference has the variance

    seed part   s²/n                        s² the variance of the n seeds' differences
    image part  (sum_i (x_i - x)² + 1)/N²   x_i an image's mean over the seeds, x that of all N images
    less        min(s²/n, E/(nN))           E the mean square of what neither seeds nor images explain,
                                            which is in both parts

The image part is not divided by n: every seed is tested on the same images. For one seed it is McNemar's
(b + c - (b - c)²/N)/N². The 1 is an image that is added after Agresti and Min: no discordant image is no
certainty.

Source: McNemar (1947), Psychometrika 12; Dietterich (1998), Neural Comput. 10, section 3.1; Agresti and Min
(2005), Stat. Med. 24; Bouthillier et al. (2021), MLSys, arXiv 2103.03098: test sets as a source of variance.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lpstudy.tables.intervals import Interval, SearchPart, accuracy_interval, interval


@dataclass(frozen=True, slots=True)
class Scores:
    """The test scores of one winner's finals."""

    accuracy: Mapping[int, float]
    """The test accuracy in percent of each seed."""
    images: int = 0
    """The number of test images; 0 where it is not known."""
    correct: Mapping[int, NDArray[np.bool_] | NDArray[np.float64]] = field(default_factory=dict)
    """The correctly classified images of each seed whose final has a record, shape (images,); of several
    searches the share of their winners that classify each image correctly."""
    search_variance: float = 0.0
    """The variance of the mean accuracy over other searches; 0 where it is not known."""
    search_degrees: int = 0
    """The degrees of freedom of that estimate."""

    @property
    def mean(self) -> Interval:
        """The mean accuracy in percent."""
        return accuracy_interval(list(self.accuracy.values()), self.images, self._searches())

    def first(self, seeds: int) -> "Scores":
        """The scores of the seeds 1 to `seeds`."""
        return replace(
            self,
            accuracy={seed: value for seed, value in self.accuracy.items() if seed <= seeds},
            correct={seed: value for seed, value in self.correct.items() if seed <= seeds},
        )

    def _searches(self, other: "Scores | None" = None) -> SearchPart:
        """The searches' part of the variance of the mean, or of the difference to another mean."""
        others = () if other is None else (other,)
        return SearchPart(
            self.search_variance + sum(one.search_variance for one in others),
            max(self.search_degrees, *(one.search_degrees for one in others), 0),
        )

    def seed_differences(self, other: "Scores") -> list[float]:
        """Accuracy less the other's in percentage points, for each seed that both have."""
        shared = sorted(self.accuracy.keys() & other.accuracy.keys())
        return [self.accuracy[seed] - other.accuracy[seed] for seed in shared]

    def less(self, other: "Scores") -> Interval:
        """The mean of accuracy less the other's in percentage points, over the seeds that both have."""
        shared = sorted(self.accuracy.keys() & other.accuracy.keys())
        differences = self.seed_differences(other)
        paired = [seed for seed in shared if self._pairs_with(other, seed)]
        if paired == shared:
            by_image = [self.correct[seed].astype(np.float64) - other.correct[seed] for seed in shared]
            test_variance = 1e4 * _test_variance(np.array(by_image)) if len(shared) > 1 else 0.0
            return interval(differences, test_variance, self._searches(other))
        least = 1e4 * _least_test_variance(np.array(differences) / 100, self.images)
        return interval(differences, least, self._searches(other), has_records=False)

    def _pairs_with(self, other: "Scores", seed: int) -> bool:
        """Whether both finals of a seed have a record, of the same number of images."""
        one, two = self.correct.get(seed), other.correct.get(seed)
        return one is not None and two is not None and len(one) == len(two) == self.images


def _test_variance(by_image: NDArray[np.float64]) -> float:
    """The images' addition to the seed part s²/n of the variance of the mean of x, shape (n, N), n > 1."""
    n, images = by_image.shape
    seeds, means = by_image.mean(axis=1), by_image.mean(axis=0)
    residual = by_image - means - seeds[:, None] + by_image.mean()
    both = float((residual**2).sum()) / ((n - 1) * max(1, images - 1)) / (n * images)
    image_part = (images * float(means.var()) + 1) / images**2
    return max(0.0, float(image_part - min(both, float(seeds.var(ddof=1)) / n)))


def _least_test_variance(differences: NDArray[np.float64], images: int) -> float:
    """The same without records of images: the fewest differing images that the mean difference needs."""
    n = len(differences)
    if n < 2 or images < 1:
        return 0.0
    mean = abs(float(differences.mean()))
    image_part = (images * (mean - mean**2) + 1) / images**2
    return max(0.0, image_part - float(differences.var(ddof=1)) / n)
