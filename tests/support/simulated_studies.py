"""Simulated studies with known differences, as the tables see them.

A network classifies an image correctly where skill of the seed + easiness of the image + chance is above 0;
methods share easiness and, of one seed, a part of the skill, as paired finals do. Seeds are 1, 2, ...
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lpstudy.tables import RUN_COLUMNS, ArmFacts, TeacherFacts
from lpstudy.tables.arms import ArmResult
from lpstudy.tables.scores import Scores

TEACHER = TeacherFacts("teacher", 95.0, 10_000, 10_000, None, None, "", "")
NO_RUNS = pd.DataFrame(columns=list(RUN_COLUMNS))
IMAGES = 400
SEEDS = (3, 5, 8)


@dataclass(frozen=True)
class World:
    """Standard deviations on the scale of the logits."""

    seed: float = 0.3
    image: float = 0.5
    """Deviation of an image's easiness between methods."""
    chance: float = 0.7

    def scores(
        self, rng: np.random.Generator, methods: int, seeds: int, gains: np.ndarray | None = None
    ) -> list[Scores]:
        """Each method's finals on one test set."""
        gains = np.zeros(methods) if gains is None else gains
        skill = (
            2.6
            + self.seed * (rng.normal(size=(1, seeds)) + rng.normal(size=(methods, seeds)))
            + gains[:, None]
        )
        easy = 1.5 * rng.normal(size=(1, IMAGES)) + self.image * rng.normal(size=(methods, IMAGES))
        chance = self.chance * rng.normal(size=(methods, seeds, IMAGES))
        correct = skill[:, :, None] + easy[:, None, :] + chance > 0
        return [
            Scores({s: 100 * row.mean() for s, row in enumerate(of, 1)}, IMAGES, dict(enumerate(of, 1)))
            for of in correct
        ]

    @property
    def accuracy(self) -> float:
        """The accuracy in percent of a method without a gain, over all images and seeds."""
        rng, n = np.random.default_rng(11), 400_000
        spread = np.sqrt(2 * self.seed**2 + 1.5**2 + self.image**2 + self.chance**2)
        return float(100 * (2.6 + spread * rng.normal(size=n) > 0).mean())


WORLDS = {
    "seeds and images differ": World(),
    "images alone": World(seed=0.05, image=0.8, chance=0.2),
    "seeds alone": World(image=0.0),
    "chance alone": World(seed=0.0, image=0.0, chance=1.0),
}


def arm_result(method: str, scores: Scores, looks: tuple[int, ...] = ()) -> ArmResult:
    """An arm's result from the scores of its finals, without a slow frame."""
    arm = ArmFacts(method, method, "net", 1, {}, {}, "")
    result = ArmResult(arm, NO_RUNS, NO_RUNS, NO_RUNS, IMAGES, looks)
    result.__dict__.update(scores=scores, failed=False)  # where cached_property keeps them
    return result


def study(scores: list[Scores], looks: tuple[int, ...] = ()) -> list[ArmResult]:
    return [arm_result("bp" if not at else f"m{at}", one, looks) for at, one in enumerate(scores)]
